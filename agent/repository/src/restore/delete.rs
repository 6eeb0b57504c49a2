//! Deleting what is in a restored directory and not in the snapshot: each entry on its own, so that each is
//! told.
//!
//! Follows no link and goes into no other mount. What cannot be deleted is reported, and all else goes on.

use std::sync::Arc;

use super::directory::Directory;
use super::{Run, summary};
use crate::error::{Error, Result};
use crate::event::{Change, Event};
use crate::format::tree::NodeKind;
use crate::source::Names;
use crate::target::TargetDir;

pub(super) fn delete(run: &Run<'_>, directory: &Arc<Directory>, names: &[Box<[u8]>]) -> Result<()> {
    let opened = match directory.open(run) {
        Ok(opened) => opened,
        Err(e) => return run.problem(&directory.path(), e),
    };
    names.iter().try_for_each(|name| {
        run.check()?;
        entry(run, &opened, name).or_else(|e| run.problem(&directory.path_of(name), e))
    })
}

/// With all that is in it. The first failure ends it: a directory with something left in it stays too.
fn entry(run: &Run<'_>, above: &TargetDir, name: &[u8]) -> Result<()> {
    let Some(metadata) = above.stat(name)? else { return Ok(()) };
    if metadata.kind == NodeKind::Dir {
        let directory = above.open_dir(name)?;
        let opened = directory.metadata()?;
        if !opened.is_same_thing(&metadata) || !opened.is_in_mount_of(&above.metadata()?) {
            let path = String::from_utf8_lossy(directory.path()).into_owned();
            return Err(Error::Refused(format!("{path} is a mount point and is not deleted")));
        }
        let mut names = Names::new();
        directory.names(&mut names)?;
        names.iter().try_for_each(|name| entry(run, &directory, name))?;
    }
    if !run.options.dry_run {
        above.remove_one(name)?;
    }
    run.counters.files_deleted.add(1);
    summary::add(&run.progress.files_deleted, 1);
    if run.reporter.wants_items() {
        let mut path = above.path().to_vec();
        path.push(b'/');
        path.extend_from_slice(name);
        run.reporter.report(Event::Item { path: &path, change: Change::Deleted, size_bytes: 0 });
    }
    Ok(())
}
