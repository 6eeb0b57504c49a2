//! Which version an upload of a lock became, so that its removal need not ask for it.
//!
//! A lock is saved once under its name and removed soon after. To delete the version that its upload became is to remove
//! all of it, unless the name may have others: each upload that began counts, since the answer of one may have been lost,
//! and a name with more than one is listed. Any other file may be older than this process, and its names are not kept.
//! What is forgotten here, or never was here, costs a list and nothing else.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::FileKind;

/// A process holds one lock, and renews it every few minutes under another name.
const NAMES_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Uploaded(Mutex<VecDeque<Lock>>);

#[derive(Debug)]
struct Lock {
    name: String,
    uploads: usize,
    file_id: Option<String>,
}

impl Uploaded {
    /// Before anything of an upload is sent.
    pub(super) fn begin(&self, name: &str) {
        if name.rsplit('/').nth(1) != Some(FileKind::Lock.folder()) {
            return;
        }
        let mut locks = self.locks();
        if let Some(lock) = locks.iter_mut().find(|lock| lock.name == name) {
            lock.uploads += 1;
            return;
        }
        if locks.len() == NAMES_MAX {
            locks.pop_front();
        }
        locks.push_back(Lock { name: name.to_owned(), uploads: 1, file_id: None });
    }

    /// An upload that began succeeded.
    pub(super) fn end(&self, name: &str, file_id: String) {
        if let Some(lock) = self.locks().iter_mut().find(|lock| lock.name == name) {
            lock.file_id = Some(file_id);
        }
    }

    /// The only version that there is of a name, as far as is known; and known no longer.
    pub(super) fn take(&self, name: &str) -> Option<String> {
        let mut locks = self.locks();
        let position = locks.iter().position(|lock| lock.name == name)?;
        locks.remove(position).filter(|lock| lock.uploads == 1)?.file_id
    }

    fn locks(&self) -> MutexGuard<'_, VecDeque<Lock>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_was_uploaded_once_is_known_by_its_version_until_it_is_removed() {
        let uploaded = Uploaded::default();
        for name in ["locks/a", "x/locks/b"] {
            uploaded.begin(name);
            assert_eq!(uploaded.take(name), None, "its upload may come to nothing");
            uploaded.begin(name);
            uploaded.end(name, "id".to_owned());
            assert_eq!(uploaded.take(name).as_deref(), Some("id"));
            assert_eq!(uploaded.take(name), None);
        }
        for name in ["config", "x/keys/a", "locks"] {
            uploaded.begin(name);
            uploaded.end(name, "id".to_owned());
            assert_eq!(uploaded.take(name), None, "{name} may have older versions");
        }
    }

    #[test]
    fn a_lock_whose_upload_was_tried_again_may_have_two_versions() {
        let uploaded = Uploaded::default();
        uploaded.begin("locks/a");
        uploaded.begin("locks/a");
        uploaded.end("locks/a", "id".to_owned());
        assert_eq!(uploaded.take("locks/a"), None);
    }

    #[test]
    fn no_more_names_are_kept_than_the_bound() {
        let uploaded = Uploaded::default();
        for number in 0..=NAMES_MAX {
            let name = format!("locks/{number}");
            uploaded.begin(&name);
            uploaded.end(&name, "id".to_owned());
        }
        assert_eq!(uploaded.locks().len(), NAMES_MAX);
        assert_eq!(uploaded.take("locks/0"), None);
        assert!(uploaded.take("locks/1").is_some());
    }
}
