//! The index files: each is loaded by itself, so that a damaged one hides nothing of the others.
//!
//! Of every pack a sum over its blobs is kept for each index file that names it: several files may name a pack, after
//! an interrupted prune or repair, but they have to say the same.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use pillion_backend::FileKind;

use super::findings::{Findings, full_name, of_the_file, reason};
use crate::error::{Error, Result};
use crate::format::id::Id;
use crate::format::index as index_file;
use crate::format::pack::PackEntry;
use crate::index::{Index, IndexBuilder};
use crate::parallel::parallel;
use crate::repository::Repository;
use crate::store::file_name;

/// What one index file says about one pack.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Mention {
    pack: Id,
    /// The position of the index file in the list.
    file: u32,
    /// The same for the same blobs in any order.
    sum: u64,
}

pub(super) fn load(repository: &Repository, findings: &Findings<'_>) -> Result<Index> {
    let files = repository.store.list_ids(FileKind::Index)?;
    let numbered: Vec<(u32, Id)> = (0..).zip(files.iter().copied()).collect();
    let whole = Mutex::new((IndexBuilder::default(), Vec::new()));
    parallel(
        repository.settings.workers,
        &numbered,
        || (),
        |(), (number, id)| {
            match load_file(repository, *number, id) {
                Ok((builder, mentions)) => {
                    let mut whole = whole.lock().expect("no thread panics with it");
                    whole.0.append(builder);
                    whole.1.extend(mentions);
                }
                Err(e) => {
                    let why = reason(&of_the_file(e)?);
                    findings.suggest_repair_index();
                    findings.damage(format!("{}: {why}", full_name(FileKind::Index, id)));
                }
            }
            Ok(())
        },
    )?;
    let (builder, mentions) = whole.into_inner().expect("no thread panics with it");
    compare(&files, mentions, findings);
    Ok(builder.build())
}

fn load_file(repository: &Repository, number: u32, id: &Id) -> Result<(IndexBuilder, Vec<Mention>)> {
    let json = repository.load_file(FileKind::Index, id)?;
    let (mut builder, mut mentions) = (IndexBuilder::default(), Vec::new());
    index_file::decode(&json, &mut |pack, blobs| {
        builder.add_pack(pack, blobs);
        let sum = blobs.iter().map(fingerprint).fold(0, u64::wrapping_add);
        mentions.push(Mention { pack, file: number, sum });
    })
    .map_err(|why| Error::Damaged { file: file_name(FileKind::Index, id), why })?;
    Ok((builder, mentions))
}

fn fingerprint(blob: &PackEntry) -> u64 {
    let mut hasher = DefaultHasher::new();
    (blob.kind, blob.id, blob.offset, blob.length, blob.uncompressed_length).hash(&mut hasher);
    hasher.finish()
}

fn compare(files: &[Id], mut mentions: Vec<Mention>, findings: &Findings<'_>) {
    mentions.sort_unstable();
    // An index file may name a pack in several places.
    mentions.dedup_by(|later, first| {
        let same = (later.pack, later.file) == (first.pack, first.file);
        if same {
            first.sum = first.sum.wrapping_add(later.sum);
        }
        same
    });
    for of_pack in mentions.chunk_by(|one, other| one.pack == other.pack).filter(|chunk| chunk.len() > 1) {
        let pack = of_pack[0].pack;
        let names = of_pack.iter().map(|mention| files[mention.file as usize].to_string());
        let names = names.collect::<Vec<_>>().join(", ");
        if of_pack.iter().all(|mention| mention.sum == of_pack[0].sum) {
            findings.suggest_repair_index();
            findings.note(format!("pack {pack} is in several indexes: {names}"));
        } else {
            findings.broken_pack(pack, format_args!("its blobs are different ones in the indexes {names}"));
        }
    }
}
