//! Extended attributes, read and written, of what is open and of what cannot be opened.
//!
//! The order of the system's list is kept. `security.selinux` is left out both ways: it belongs to the machine,
//! differs from one pod to the next, and cannot be restored elsewhere.

use std::os::fd::BorrowedFd;

use rustix::fs::{self, XattrFlags};
use rustix::io::Errno;

use super::handle::magic_path;
use crate::format::tree::ExtendedAttribute;

/// The kernel's own limit for the list and for a value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const MAX_ATTRIBUTE_BYTES: usize = 64 << 10;

/// Most files have no attribute, and the others' fit into this.
const USUAL_BYTES: usize = 512;

pub(crate) fn is_of_the_machine(name: &[u8]) -> bool {
    name == b"security.selinux"
}

/// Whose attributes.
#[derive(Debug)]
pub(crate) enum Subject<'a> {
    Open(BorrowedFd<'a>),
    /// A [`magic_path`]; its last component is not followed.
    Path(Vec<u8>),
}

impl<'a> Subject<'a> {
    pub(crate) fn entry(directory: BorrowedFd<'_>, name: &[u8]) -> Self {
        Self::Path(magic_path(directory, Some(name)))
    }

    /// All attributes. A file system without any, and an attribute that went meanwhile, are no errors.
    pub(crate) fn read_all(&self) -> Result<Vec<ExtendedAttribute>, Errno> {
        let mut found = Vec::new();
        for name in self.names()? {
            match sized(|buffer| self.value(&name, buffer)) {
                Ok(value) => found.push(ExtendedAttribute { name, value }),
                Err(Errno::NODATA) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(found)
    }

    pub(crate) fn names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        match sized(|buffer| self.list(buffer)) {
            Ok(list) => Ok(list
                .split(|byte| *byte == 0)
                .filter(|name| !name.is_empty() && !is_of_the_machine(name))
                .map(<[u8]>::to_vec)
                .collect()),
            // CIFS says that there is no data where it means that there are no attributes.
            Err(Errno::NOTSUP | Errno::NODATA) => Ok(Vec::new()),
            Err(errno) => Err(errno),
        }
    }

    pub(crate) fn set(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(file) => fs::fsetxattr(file, name, value, XattrFlags::empty()),
            Self::Path(path) => fs::lsetxattr(&**path, name, value, XattrFlags::empty()),
        }
    }

    pub(crate) fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(file) => fs::fremovexattr(file, name),
            Self::Path(path) => fs::lremovexattr(&**path, name),
        }
    }

    fn list(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(file) => fs::flistxattr(file, buffer),
            Self::Path(path) => fs::llistxattr(&**path, buffer),
        }
    }

    fn value(&self, name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(file) => fs::fgetxattr(file, name, buffer),
            Self::Path(path) => fs::lgetxattr(&**path, name, buffer),
        }
    }
}

/// The answer of a call that needs a buffer of a size not known before.
fn sized(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut usual = [0; USUAL_BYTES];
    match call(&mut usual) {
        Ok(length) => Ok(usual[..length].to_vec()),
        Err(Errno::RANGE) => {
            let mut largest = vec![0; MAX_ATTRIBUTE_BYTES];
            let length = call(&mut largest)?;
            largest.truncate(length);
            largest.shrink_to_fit();
            Ok(largest)
        }
        Err(errno) => Err(errno),
    }
}
