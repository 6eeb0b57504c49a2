//! The marker of a restore that is not whole: a file in the target, there before the first change and removed
//! after the last.
//!
//! While it lies in a source no agent backs that source up: half a volume would become the newest snapshot. A
//! running restore holds a lock on the file, which ends with its process, and renews its time, for those who
//! mount the volume elsewhere and do not see the lock. Everything else in it is for people.

#![allow(clippy::disallowed_methods, reason = "the kernel's boot ID is read from /proc")]

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::Options;
use crate::error::{Error, Result};
use crate::format::id::Id;
use crate::format::time::Timestamp;
use crate::limits::MAX_MARKER_BYTES;
use crate::source;
use crate::target::{Attributes, TargetDir, TargetFile, Times};

/// The marker's name in the target.
pub const NAME: &[u8] = b".pillion-restore";

/// How often a running restore renews the time of its marker.
const RENEW_EVERY: Duration = Duration::from_secs(60);

/// A marker of another machine that was renewed within this time belongs to a running restore.
const FRESH_FOR: Duration = Duration::from_secs(5 * 60);

/// Who restores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Names the run in logs and status.
    pub run_id: String,
    pub host: String,
    pub pid: u32,
}

/// Whether a source holds the marker of a restore that runs or did not become whole. What cannot be looked at here is
/// told by the backup itself.
pub fn is_in(source: &source::Source) -> bool {
    source.open_dir().and_then(|directory| directory.stat(NAME)).is_ok()
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    run_id: String,
    snapshot_id: Id,
    time: Timestamp,
    host: String,
    pid: u32,
    /// The boot of the machine it runs on: locks of one kernel are known to that kernel.
    boot_id: String,
}

/// The marker of this run. Dropped without [`Marker::remove`] it stays where it is.
#[derive(Debug)]
pub(super) struct Marker {
    directory: Arc<TargetDir>,
    /// Its lock says that this process works on the target.
    _locked: Arc<TargetFile>,
    renewal: tokio::task::JoinHandle<()>,
    pub(super) continues_a_broken_restore: bool,
}

impl Marker {
    /// Leaves the marker in a target, or takes over that of a restore that ended without becoming whole. Refuses
    /// where another restore runs.
    pub(super) fn leave(directory: &Arc<TargetDir>, options: &Options, runtime: &Handle) -> Result<Self> {
        loop {
            let (file, continues_a_broken_restore) = match directory.create_file(NAME)? {
                Some(file) => (file, false),
                None => (directory.open_file(NAME)?, true),
            };
            if !file.try_lock()? {
                return Err(running(directory, &read(&file)));
            }
            if !is_in_place(directory, &file)? {
                // The one who held it before removed it meanwhile.
                continue;
            }
            if continues_a_broken_restore {
                refuse_fresh(directory, &file)?;
            }
            write(&file, options)?;
            directory.sync_entry(&file)?;
            let file = Arc::new(file);
            let renewal = runtime.spawn(renew(Arc::downgrade(&file)));
            let directory = Arc::clone(directory);
            return Ok(Self { directory, _locked: file, renewal, continues_a_broken_restore });
        }
    }

    /// For people.
    pub(super) fn path(&self) -> String {
        let path = String::from_utf8_lossy(self.directory.path());
        format!("{}/{}", path.trim_end_matches('/'), String::from_utf8_lossy(NAME))
    }

    /// The target is whole.
    pub(super) fn remove(self) -> Result<()> {
        self.directory.remove_one(NAME)
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// A lock on a file that has lost its name keeps nobody away.
fn is_in_place(directory: &TargetDir, file: &TargetFile) -> Result<bool> {
    let found = directory.stat(NAME)?;
    let opened = file.metadata()?;
    Ok(found.is_some_and(|found| found.is_same_thing(&opened)))
}

/// The lock was free. On the machine that left the marker this proves that nobody has it; elsewhere it may not be
/// visible, and the time decides.
fn refuse_fresh(directory: &TargetDir, file: &TargetFile) -> Result<()> {
    let content = read(file);
    if content.as_ref().is_some_and(|content| !content.boot_id.is_empty() && content.boot_id == boot_id()) {
        return Ok(());
    }
    let renewed = file.metadata()?.mtime;
    let now = Timestamp::from(SystemTime::now());
    if now.saturating_sub(FRESH_FOR) < renewed { Err(running(directory, &content)) } else { Ok(()) }
}

fn running(directory: &TargetDir, content: &Option<Content>) -> Error {
    let target = String::from_utf8_lossy(directory.path()).into_owned();
    let name = String::from_utf8_lossy(NAME);
    let who = match content {
        Some(content) => format!("PID {} on {}", content.pid, content.host),
        None => "somebody".to_owned(),
    };
    Error::Refused(format!(
        "another restore into {target} is running, by {who}; if that is not so, delete {target}/{name}"
    ))
}

fn read(file: &TargetFile) -> Option<Content> {
    let mut buffer = vec![0; MAX_MARKER_BYTES];
    let length = file.read_at(&mut buffer, 0).ok()?;
    serde_json::from_slice(&buffer[..length]).ok()
}

fn write(file: &TargetFile, options: &Options) -> Result<()> {
    let content = Content {
        run_id: options.owner.run_id.clone(),
        snapshot_id: options.snapshot_id,
        time: Timestamp::from(SystemTime::now()),
        host: options.owner.host.clone(),
        pid: options.owner.pid,
        boot_id: boot_id(),
    };
    let mut json = serde_json::to_vec(&content).expect("plain fields have JSON");
    json.push(b'\n');
    file.set_size(0)?;
    file.write_at(&json, 0)
}

/// Empty where the system does not tell it: then no marker is known to be this machine's.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Holds the file only while it works on it: an aborted task may end later than the restore, and the lock must
/// not.
async fn renew(file: Weak<TargetFile>) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let Some(file) = file.upgrade() else { return };
        let now = Timestamp::from(SystemTime::now());
        let times = Some(Times { atime: now, mtime: now });
        // A failure shows where it matters: in the restore itself.
        let _failed = file.set_attributes(&Attributes { times, ..Attributes::default() });
    }
}
