//! From the path of a target to its handle, making the directories that are missing.

use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::TargetDir;
use crate::error::{Error, Result};
use crate::source::handle::{self, Resolution};
use crate::source::root::{RootError, components, join, resolve};

impl TargetDir {
    /// Opens a target by a person's path, relative or through links as that person likes; directories that are
    /// missing at its end are made.
    pub fn create_resolved(path: &[u8]) -> Result<Self> {
        let (existing, missing) = split_existing(path)?;
        Self::create_by(&join_all(&existing, &missing), Resolution::of_system())
    }

    /// Opens a target by an absolute path that leads through no link; directories that are missing are made.
    pub fn create_without_links(path: &[u8]) -> Result<Self> {
        Self::create_by(path, Resolution::of_system())
    }

    /// Opens a target as [`TargetDir::create_resolved`] does, but makes nothing: `None` where it is missing.
    pub fn open_resolved(path: &[u8]) -> Result<Option<Self>> {
        let (existing, missing) = split_existing(path)?;
        if missing.is_empty() {
            Self::create_by(&existing, Resolution::of_system()).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Opens a target as [`TargetDir::create_without_links`] does, but makes nothing.
    pub fn open_without_links(path: &[u8]) -> Result<Option<Self>> {
        match crate::source::open_without_links(path) {
            Err(RootError::Missing { .. }) => Ok(None),
            Err(error) => Err(refused(error)),
            Ok(_) => Self::create_by(path, Resolution::of_system()).map(Some),
        }
    }

    pub(super) fn create_by(path: &[u8], resolution: Resolution) -> Result<Self> {
        let components = components(path).map_err(refused)?;
        let flags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
        let Some((last, parents)) = components.split_last() else {
            let handle = rustix::fs::openat(CWD, "/", flags, Mode::empty())
                .map_err(|errno| Error::local("open directory", "/", errno))?;
            return Ok(Self { handle, resolution, path: b"/".to_vec() });
        };
        let mut above = rustix::fs::openat(CWD, "/", handle::PASS, Mode::empty())
            .map_err(|errno| Error::local("open directory", "/", errno))?;
        for (position, component) in parents.iter().enumerate() {
            let open = || handle::open(above.as_fd(), component, handle::PASS, Mode::empty(), resolution);
            let opened = match open() {
                // What is made on the way is for everybody to go through, as with `mkdir -p`.
                Err(Errno::NOENT) => make(above.as_fd(), component).and_then(|()| open()),
                opened => opened,
            };
            above = opened.map_err(|errno| failed(&components[..=position], errno))?;
        }
        let parent = Self { handle: above, resolution, path: join(parents) };
        if parent.stat(last)?.is_none() {
            make(parent.as_fd(), last).map_err(|errno| failed(&components, errno))?;
        }
        parent.open_dir(last)
    }
}

fn make(directory: std::os::fd::BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o777)) {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

/// The longest beginning of a path that exists, resolved, and the names that are missing behind it.
fn split_existing(path: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let mut rest = path.to_vec();
    let mut missing = Vec::new();
    loop {
        while rest.len() > 1 && rest.ends_with(b"/") {
            rest.pop();
        }
        let beginning: &[u8] = if rest.is_empty() { b"." } else { &rest };
        match resolve(beginning) {
            Ok(existing) => {
                missing.reverse();
                return Ok((existing, missing));
            }
            Err(RootError::Missing { .. }) if beginning != b"." => {
                let cut = rest.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
                missing.push(rest.split_off(cut));
            }
            Err(error) => return Err(refused(error)),
        }
    }
}

fn join_all(existing: &[u8], missing: &[Vec<u8>]) -> Vec<u8> {
    missing.iter().fold(existing.to_vec(), |mut path, name| {
        path.push(b'/');
        path.extend_from_slice(name);
        path
    })
}

fn failed(components: &[&[u8]], errno: Errno) -> Error {
    // The kernel's word for a link where none may be is about a loop, which helps nobody.
    let doing = match errno {
        Errno::LOOP | Errno::NOTDIR => "open directory (a link is none)",
        _ => "open or create directory",
    };
    Error::local(doing, super::lossy(&join(components)), errno)
}

fn refused(error: RootError) -> Error {
    Error::Refused(error.to_string())
}
