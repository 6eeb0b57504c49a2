//! Links, pipes and devices: made under a temporary name, given their metadata, renamed.
//!
//! Sockets are left to the programs that bind them, as with restic.

use std::sync::Arc;

use super::directory::Directory;
use super::finish::replace;
use super::metadata::Wanted;
use super::{Run, Special};
use crate::error::{Error, Result};
use crate::format::tree::{Node, NodeKind};
use crate::target::{TargetDir, temporary_name};

/// Whether a node is left out on the user's word.
pub(super) fn is_left_out(run: &Run<'_>, node: &Node) -> bool {
    run.options.special == Special::LeftOut && matches!(node.kind, NodeKind::Dev | NodeKind::Chardev)
}

pub(super) fn restore(run: &Run<'_>, directory: &Arc<Directory>, node: &mut Node) -> Result<()> {
    let opened = directory.open(run)?;
    let wanted = Wanted::of(run, node);
    let temporary = temporary_name();
    create(&opened, &temporary, node)?;
    let failed = opened.set_attributes_of(&temporary, node.kind, &wanted.all());
    run.not_set(failed, || directory.path_of(&node.name))
        .and_then(|()| replace(run, &opened, &temporary, &node.name))
        .inspect_err(|_| {
            // The first error is the one to tell.
            let _best_effort = opened.remove_one(&temporary);
        })
}

fn create(directory: &TargetDir, name: &[u8], node: &Node) -> Result<()> {
    match node.kind {
        NodeKind::Symlink => directory.create_symlink(name, &node.link_target),
        NodeKind::Fifo => directory.create_fifo(name),
        NodeKind::Dev | NodeKind::Chardev => directory.create_device(name, node.kind, node.rare.device),
        kind => Err(Error::Refused(format!("an entry of type {:?} cannot be restored", kind.word()))),
    }
}
