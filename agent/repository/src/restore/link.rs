//! Hard links: the first name of a file is restored, every other becomes a second name of it.
//!
//! The first may still be on its way when the walk comes to a second; then the link waits with it. An entry is
//! forgotten when as many names were seen as the file had.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use super::Run;
use super::directory::{Directory, Presence};
use super::finish::replace;
use crate::error::{Error, Result};
use crate::format::tree::Node;
use crate::target::temporary_name;

#[derive(Debug, Default)]
pub(super) struct HardLinks {
    /// By inode and device.
    first_names: Mutex<HashMap<(u64, u64), FirstName>>,
}

#[derive(Debug)]
struct FirstName {
    linked: Arc<Linked>,
    names_to_come: u64,
}

/// The first name of a file with several.
#[derive(Debug)]
pub(super) struct Linked {
    directory: Arc<Directory>,
    name: Box<[u8]>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Names that wait for the first.
    Waiting(Vec<(Arc<Directory>, Box<[u8]>)>),
    Done,
    Failed,
}

/// What a file with several names is to be.
#[derive(Debug)]
pub(super) enum Role {
    First(Arc<Linked>),
    Second(Arc<Linked>),
}

impl HardLinks {
    pub(super) fn role(&self, node: &Node, directory: &Arc<Directory>) -> Option<Role> {
        if node.links < 2 {
            return None;
        }
        let mut first_names = self.first_names.lock().expect("no thread panics with it");
        Some(match first_names.entry((node.inode, node.device_id)) {
            Entry::Vacant(vacant) => {
                let linked = Arc::new(Linked {
                    directory: Arc::clone(directory),
                    name: node.name.clone().into(),
                    state: Mutex::new(State::Waiting(Vec::new())),
                });
                vacant.insert(FirstName { linked: Arc::clone(&linked), names_to_come: node.links - 1 });
                Role::First(linked)
            }
            Entry::Occupied(mut occupied) => {
                let linked = Arc::clone(&occupied.get().linked);
                occupied.get_mut().names_to_come -= 1;
                if occupied.get().names_to_come == 0 {
                    occupied.remove();
                }
                Role::Second(linked)
            }
        })
    }
}

impl Linked {
    /// The first name is there: those that waited for it follow.
    pub(super) fn done(&self, run: &Run<'_>) -> Result<()> {
        self.settle(State::Done).into_iter().try_for_each(|(directory, name)| {
            self.make(run, &directory, &name)?;
            directory.one_done(run)
        })
    }

    pub(super) fn failed(&self, run: &Run<'_>) -> Result<()> {
        self.settle(State::Failed).into_iter().try_for_each(|(directory, name)| {
            run.problem(&directory.path_of(&name), first_failed())?;
            directory.one_done(run)
        })
    }

    fn settle(&self, state: State) -> Vec<(Arc<Directory>, Box<[u8]>)> {
        let mut current = self.state.lock().expect("no thread panics with it");
        match std::mem::replace(&mut *current, state) {
            State::Waiting(waiting) => waiting,
            State::Done | State::Failed => Vec::new(),
        }
    }

    /// Makes `name` a second name, now or when the first is there.
    pub(super) fn add(&self, run: &Run<'_>, directory: &Arc<Directory>, name: Vec<u8>) -> Result<()> {
        let mut state = self.state.lock().expect("no thread panics with it");
        match &mut *state {
            State::Waiting(waiting) => {
                directory.one_more();
                waiting.push((Arc::clone(directory), name.into()));
                Ok(())
            }
            State::Failed => run.problem(&directory.path_of(&name), first_failed()),
            State::Done => {
                drop(state);
                self.make(run, directory, &name)
            }
        }
    }

    fn make(&self, run: &Run<'_>, directory: &Arc<Directory>, name: &[u8]) -> Result<()> {
        match self.try_make(run, directory, name) {
            Ok(()) => {
                run.other_restored(directory, name);
                Ok(())
            }
            Err(e) => run.problem(&directory.path_of(name), e),
        }
    }

    fn try_make(&self, run: &Run<'_>, directory: &Arc<Directory>, name: &[u8]) -> Result<()> {
        let (first, second) = (self.directory.open(run)?, directory.open(run)?);
        if directory.presence == Presence::New {
            return second.create_hard_link(name, &first, &self.name);
        }
        // Renaming one name of a file to another of its names does nothing, not even take the old one away.
        if let (Some(existing), Some(wanted)) = (second.stat(name)?, first.stat(&self.name)?)
            && existing.is_same_thing(&wanted)
        {
            return Ok(());
        }
        let temporary = temporary_name();
        second.create_hard_link(&temporary, &first, &self.name)?;
        replace(run, &second, &temporary, name)
    }
}

fn first_failed() -> Error {
    Error::Refused("the file it is a second name of could not be restored".to_owned())
}
