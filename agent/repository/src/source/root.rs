//! From the path of a source to handles: the only place where a path of more than one component is looked at.
//!
//! A person's path may go through links, as it does for every command ([`open_resolved`]). The agent's may not
//! ([`open_without_links`]): it is given once and for all, and a link on the way could be the application's.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;

use super::handle::{self, Resolution};
use super::linux::{LinuxDirectory, Walk};
use super::{Directory, Metadata, Result};
use crate::event::SkipReason;
use crate::format::tree::NodeKind;

/// A source, found but not yet read: an entry of the last directory on the way to it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Absolute, without links, `.` or `..`.
    pub path: Vec<u8>,
    /// The directories from `/` down to the one the source lies in, each opened.
    pub ancestors: Vec<Arc<dyn Directory>>,
    /// The name in the last of them; empty where the source is `/` itself, the only ancestor.
    pub name: Vec<u8>,
    pub metadata: Metadata,
}

impl Source {
    pub fn parent(&self) -> &Arc<dyn Directory> {
        self.ancestors.last().expect("every path begins at /")
    }

    /// The source as a directory, if it is one.
    pub fn open_dir(&self) -> Result<Arc<dyn Directory>> {
        if self.name.is_empty() {
            Ok(Arc::clone(self.parent()))
        } else {
            self.parent().open_dir(&self.name, &self.metadata)
        }
    }
}

/// Why a source cannot be begun with. Paths are shown as far as they are text.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    #[error("{} does not exist", lossy(.path))]
    Missing { path: Vec<u8> },
    #[error("{} is a symbolic link; the path of a source must lead through none", lossy(.component))]
    Link { component: Vec<u8> },
    #[error("{} is not a directory", lossy(.component))]
    NotADirectory { component: Vec<u8> },
    #[error("{} is no absolute path without `..`", lossy(.path))]
    NotAbsolute { path: Vec<u8> },
    #[error("open {}: {source}", lossy(.path))]
    Failed { path: Vec<u8>, source: io::Error },
}

impl RootError {
    pub fn skip_reason(&self) -> SkipReason {
        match self {
            Self::Missing { .. } | Self::Link { .. } | Self::NotADirectory { .. } => {
                SkipReason::MissingTarget
            }
            Self::NotAbsolute { .. } => SkipReason::Unsupported,
            Self::Failed { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                SkipReason::Unreadable
            }
            Self::Failed { .. } => SkipReason::InputOutput,
        }
    }

    /// The reason alone, for a message that begins with `path`.
    pub(crate) fn reason_at(&self, path: &[u8]) -> String {
        match self {
            Self::Missing { path: missing } if missing == path => "it does not exist".to_owned(),
            _ => self.to_string(),
        }
    }

    pub(crate) fn of(path: &[u8], errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Missing { path: path.to_vec() },
            _ => Self::Failed { path: path.to_vec(), source: errno.into() },
        }
    }
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Opens a source by a path that may be relative and may go through links, also in its last component. They are
/// resolved once; [`Source::path`] is what they led to.
pub fn open_resolved(path: &[u8]) -> Result<Source, RootError> {
    let resolved = resolve(path)?;
    open_without_links(&resolved)
}

/// Opens a source by an absolute path that goes through no link.
pub fn open_without_links(path: &[u8]) -> Result<Source, RootError> {
    open_by(path, Resolution::of_system())
}

pub(crate) fn resolve(path: &[u8]) -> Result<Vec<u8>, RootError> {
    match std::fs::canonicalize(Path::new(OsStr::from_bytes(path))) {
        Ok(resolved) => Ok(resolved.as_os_str().as_bytes().to_vec()),
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            Err(RootError::Missing { path: path.to_vec() })
        }
        Err(source) => Err(RootError::Failed { path: path.to_vec(), source }),
    }
}

/// The components of an absolute path; `.` and doubled slashes count for nothing.
pub(crate) fn components(path: &[u8]) -> Result<Vec<&[u8]>, RootError> {
    let not_absolute = || RootError::NotAbsolute { path: path.to_vec() };
    let rest = path.strip_prefix(b"/").ok_or_else(not_absolute)?;
    let components: Vec<&[u8]> =
        rest.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if components.iter().all(|part| handle::is_component(part)) {
        Ok(components)
    } else {
        Err(not_absolute())
    }
}

/// The path of the first components, for messages.
pub(crate) fn join(components: &[&[u8]]) -> Vec<u8> {
    let mut path = Vec::new();
    for component in components {
        path.push(b'/');
        path.extend_from_slice(component);
    }
    if path.is_empty() { b"/".to_vec() } else { path }
}

pub(super) fn open_by(path: &[u8], resolution: Resolution) -> Result<Source, RootError> {
    let components = components(path)?;
    let top = rustix::fs::openat(CWD, "/", handle::PASS, Mode::empty())
        .and_then(|opened| LinuxDirectory::passing(opened, Walk::new(resolution)))
        .map_err(|errno| RootError::of(b"/", errno))?;
    let path = join(&components);
    let Some((name, parents)) = components.split_last() else {
        let metadata = *top.metadata();
        return Ok(Source { path, ancestors: vec![Arc::new(top)], name: Vec::new(), metadata });
    };
    let mut ancestors = vec![Arc::new(top)];
    for (position, component) in parents.iter().enumerate() {
        let parent = ancestors.last().expect("begins with /");
        let next =
            parent.pass_into(component).map_err(|errno| refusal(parent, &components[..=position], errno))?;
        ancestors.push(Arc::new(next));
    }
    let parent = ancestors.last().expect("begins with /");
    let metadata = parent.stat_raw(name).map_err(|errno| RootError::of(&path, errno))?;
    if metadata.kind == NodeKind::Symlink {
        return Err(RootError::Link { component: path });
    }
    let ancestors = ancestors.into_iter().map(|directory| directory as Arc<dyn Directory>).collect();
    Ok(Source { path, ancestors, name: name.to_vec(), metadata })
}

/// A component that cannot be gone through: says whether it is a link.
fn refusal(parent: &LinuxDirectory, components: &[&[u8]], errno: Errno) -> RootError {
    let component = join(components);
    if !matches!(errno, Errno::LOOP | Errno::NOTDIR) {
        return RootError::of(&component, errno);
    }
    let name = components.last().expect("a component was refused");
    match parent.stat_raw(name) {
        Ok(metadata) if metadata.kind == NodeKind::Symlink => RootError::Link { component },
        _ => RootError::NotADirectory { component },
    }
}
