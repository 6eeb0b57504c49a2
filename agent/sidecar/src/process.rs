//! Who runs this: what snapshots, locks and key files say about their maker.

use pillion_repository::lock::Holder;
use pillion_repository::source::Accounts;

use crate::environment::Environment;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub hostname: String,
    pub username: String,
    pub uid: u32,
    pub gid: u32,
}

impl Process {
    pub fn current(environment: &Environment) -> Self {
        let uid = rustix::process::getuid().as_raw();
        let known = Accounts::load().user(uid);
        // In a container the user often has no entry: then the variable, as with restic.
        let username = if known.is_empty() {
            environment.text("USER").unwrap_or_else(|| uid.to_string())
        } else {
            known.to_string()
        };
        Self {
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            username,
            uid,
            gid: rustix::process::getgid().as_raw(),
        }
    }

    /// As others read it in a lock of this process.
    pub fn holder(self) -> Holder {
        let Self { hostname, username, uid, gid } = self;
        Holder { hostname, username, pid: std::process::id(), uid, gid }
    }
}
