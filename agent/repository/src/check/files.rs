//! The small files: config, keys, locks, snapshots. Every one is loaded, compared with its name and decoded.
//!
//! restic looks at none of them but snapshots here; but a key that cannot be read is a password that opens
//! nothing any more, and a lock that cannot be read blocks everybody.

use pillion_backend::{ErrorKind, FileKind, FileName};

use super::Check;
use super::findings::{Findings, full_name, of_the_file, reason};
use crate::error::{Error, Result};
use crate::format::config::Config;
use crate::format::file;
use crate::format::id::Id;
use crate::format::key::KeyFile;
use crate::format::time::Timestamp;
use crate::parallel::parallel;
use crate::repository::Repository;
use crate::store::entry_id;

/// A snapshot whose trees are checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    pub(super) snapshot: Id,
    pub(super) time: Timestamp,
    pub(super) tree: Id,
}

pub(super) fn check_small_files(repository: &Repository, findings: &Findings<'_>) -> Result<()> {
    check_config(repository, findings)?;
    for id in repository.store.list_ids(FileKind::Key)? {
        let decode = |bytes: &[u8]| KeyFile::decode(bytes).map(drop);
        let loaded = repository.store.load_verified(FileKind::Key, &id).and_then(|bytes| {
            decode(&bytes)
                .map_err(|why| Error::Damaged { file: crate::store::file_name(FileKind::Key, &id), why })
        });
        tell_damage(FileKind::Key, &id, loaded, findings)?;
    }
    for entry in repository.store.list(FileKind::Lock)? {
        let id = entry_id(&entry);
        if entry.size_bytes == 0 {
            findings.note(format!("{} is empty and counts as none", full_name(FileKind::Lock, &id)));
            continue;
        }
        tell_damage(FileKind::Lock, &id, repository.load_lock(&id).map(drop), findings)?;
    }
    Ok(())
}

/// The config was whole when the repository was opened, perhaps a while ago.
fn check_config(repository: &Repository, findings: &Findings<'_>) -> Result<()> {
    let loaded = repository.store.load(&FileName::config()).and_then(|sealed| {
        let damaged = |why| Error::Damaged { file: FileName::config(), why };
        let json = file::decode(FileKind::Config, &sealed, repository.key()).map_err(damaged)?;
        Config::decode(&json).map_err(|why| Error::Refused(why.to_string()))
    });
    match loaded {
        Ok(config) if config == repository.config => {}
        Ok(_) => findings.damage("config: it is not the one this repository was opened with"),
        Err(e) => findings.damage(format!("config: {}", reason(&of_the_file(e)?))),
    }
    Ok(())
}

/// A file that went since it was listed is no damage: locks come and go, and keys may be removed.
fn tell_damage(kind: FileKind, id: &Id, loaded: Result<()>, findings: &Findings<'_>) -> Result<()> {
    match loaded {
        Ok(()) => {}
        Err(Error::Backend(e)) if e.kind == ErrorKind::NotFound => {}
        Err(e) => findings.damage(format!("{}: {}", full_name(kind, id), reason(&of_the_file(e)?))),
    }
    Ok(())
}

/// Loads every listed snapshot and returns the chosen ones, newest first.
pub(super) fn load_snapshots(check: &Check<'_>, listed: &[Id], chosen: Option<&[Id]>) -> Result<Vec<Root>> {
    let loaded = parallel(
        check.connections,
        listed,
        || (),
        |(), id| match check.repository.load_snapshot(id) {
            Ok(snapshot) => Ok(Some(Root { snapshot: *id, time: snapshot.time, tree: snapshot.tree })),
            Err(Error::Backend(e)) if e.kind == ErrorKind::NotFound => Ok(None),
            Err(e) => {
                check.findings.broken_snapshot(*id, reason(&of_the_file(e)?));
                Ok(None)
            }
        },
    )?;
    let is_chosen = |root: &Root| chosen.is_none_or(|chosen| chosen.contains(&root.snapshot));
    let mut roots: Vec<Root> = loaded.into_iter().flatten().filter(is_chosen).collect();
    roots.sort_unstable_by_key(|root| std::cmp::Reverse((root.time, root.snapshot)));
    Ok(roots)
}
