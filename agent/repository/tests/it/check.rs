//! `check` against every damage to every kind of file, with stock restic as the second opinion.
//!
//! What check says is lost is compared with what cannot be read: no path too few, none too many.

mod damage;
mod fixture;

use std::collections::BTreeSet;

use pillion_backend::{FileKind, FileName};
use pillion_repository::check::{Loss, Options, ReadData, Report};
use pillion_repository::{Error, repository};

use damage::{Damage, each};
use fixture::{Base, Case, Found};

/// What a case expects of the two programs.
fn assert_agreed(case: &Case, report: &Report) {
    let restic = case.restic_is_sound(&["check", "--read-data"]);
    assert_eq!(report.is_sound(), restic, "{case}: ours {report:?}");
}

#[test]
fn a_repository_without_damage_is_sound_for_both() {
    let case = Base::get().case("whole");
    let Found { report, told, .. } = case.check(ReadData::All);
    assert_eq!(told, [] as [String; 0]);
    assert!(report.is_sound() && report.broken_packs.is_empty() && !report.suggest_repair_index);
    assert_eq!((report.snapshots, report.packs_read, report.packs), (2, 4, 4));
    assert_agreed(&case, &report);
    assert!(case.unreadable().is_empty());
    let quick = case.check(ReadData::Suspicious).report;
    assert_eq!((quick.errors, quick.packs_read, quick.trees), (0, 0, report.trees));
}

#[test]
fn a_damaged_config_keeps_everybody_out() {
    each(|damage| {
        let case = Base::get().case(format!("config {damage:?}"));
        case.damage(&FileName::config(), damage);
        let opened = case.open();
        match damage {
            Damage::Removed => assert!(matches!(opened, Err(Error::NoRepository { .. })), "{case}"),
            _ => assert!(
                matches!(opened, Err(Error::UnusableKey(_) | Error::Damaged { .. })),
                "{case}: {opened:?}"
            ),
        }
        assert!(!case.restic_is_sound(&["check"]), "{case}");
    });
}

#[test]
fn a_damaged_key_is_named_and_another_one_opens() {
    each(|damage| {
        let case = Base::get().case(format!("key {damage:?}"));
        let key = case.files(FileKind::Key).remove(1);
        case.damage(&key, damage);
        let found = case.check(ReadData::All);
        assert_eq!(found.report.errors, u64::from(damage != Damage::Removed), "{case}: {:?}", found.told);
        assert_eq!(found.names(&key), damage != Damage::Removed, "{case}: {:?}", found.told);
        assert!(found.report.affected.snapshots.is_empty() && case.unreadable().is_empty(), "{case}");
        // restic looks at no key but the one that opens: to it the repository is sound.
        assert!(case.restic_is_sound(&["check"]), "{case}");
    });
}

#[test]
fn without_a_whole_key_there_is_an_error_that_says_so() {
    each(|damage| {
        let case = Base::get().case(format!("every key {damage:?}"));
        let keys = case.files(FileKind::Key);
        keys.iter().for_each(|key| case.damage(key, damage));
        match (damage, case.open()) {
            // The other key's bytes open as well under this name.
            (Damage::Replaced, Ok(_)) => assert_eq!(case.check(ReadData::All).report.errors, 2, "{case}"),
            // A bit of the text that no field depends on.
            (Damage::FlippedAtStart | Damage::FlippedInTheMiddle | Damage::FlippedAtEnd, Ok(_)) => {
                assert_eq!(case.check(ReadData::All).report.errors, 2, "{case}");
            }
            (_, opened) => {
                let refused = match damage {
                    Damage::Removed => matches!(opened, Err(Error::NoKey)),
                    _ => matches!(opened, Err(Error::UnusableKey(_) | Error::WrongPassword)),
                };
                assert!(refused, "{case}: {opened:?}");
            }
        }
    });
}

#[test]
fn a_damaged_snapshot_is_named_and_the_others_are_checked() {
    each(|damage| {
        let case = Base::get().case(format!("snapshot {damage:?}"));
        let snapshot = case.files(FileKind::Snapshot).remove(0);
        case.damage(&snapshot, damage);
        let found = case.check(ReadData::All);
        assert_agreed(&case, &found.report);
        assert_eq!(found.names(&snapshot), damage != Damage::Removed, "{case}: {:?}", found.told);
        let broken: Vec<String> = found.report.broken_snapshots.iter().map(ToString::to_string).collect();
        let expected = if damage == Damage::Removed { vec![] } else { vec![snapshot.name().to_owned()] };
        assert_eq!(broken, expected, "{case}");
        assert_eq!(found.report.snapshots, 1, "{case}");
        assert!(found.report.affected.snapshots.is_empty(), "{case}");
    });
}

#[test]
fn a_damaged_lock_is_named_and_blocks_whoever_honours_locks() {
    each(|damage| {
        let case = Base::get().case(format!("lock {damage:?}"));
        let locks = case.leave_locks();
        case.damage(&locks[0], damage);
        let found = case.check(ReadData::Suspicious);
        // One that is empty is one that is being written.
        let counts = !matches!(damage, Damage::Removed | Damage::Emptied);
        assert_eq!(found.report.errors, u64::from(counts), "{case}: {:?}", found.told);
        assert_eq!(found.names(&locks[0]), counts, "{case}: {:?}", found.told);
        assert!(case.check_locked().is_err(), "{case}: the other lock is there");
        case.remove(&locks[1]);
        assert_eq!(case.check_locked().is_err(), counts, "{case}");
        // With a lock restic waits 35 seconds before it gives up on one that it cannot read.
        assert!(counts || case.restic_is_sound(&["check"]), "{case}");
        assert!(case.restic_is_sound(&["check", "--no-lock"]), "{case}");
    });
}

#[test]
fn a_damaged_index_is_healed_by_repair_index() {
    each(|damage| {
        let case = Base::get().case(format!("index {damage:?}"));
        let index = case.files(FileKind::Index).remove(0);
        case.damage(&index, damage);
        let Found { report, told, .. } = case.check(ReadData::All);
        assert_agreed(&case, &report);
        assert!(
            !report.is_sound() && report.suggest_repair_index && report.broken_packs.is_empty(),
            "{case}: {told:?}"
        );
        assert_eq!(told.iter().any(|line| line.contains(index.name())), damage != Damage::Removed, "{case}");
        assert_eq!(case.lost(&report), case.unreadable(), "{case}");
        case.restic(&["repair", "index"]);
        let healed = case.check(ReadData::All).report;
        assert!(healed.is_sound(), "{case}: {healed:?}");
        assert_agreed(&case, &healed);
    });
}

#[test]
fn a_damaged_pack_of_data_names_its_files_and_the_next_backup_heals_it() {
    each(|damage| {
        let case = Base::get().case(format!("data {damage:?}"));
        let pack = case.pack_of("/src/first/large");
        case.damage(&pack, damage);
        let Found { report, told, .. } = case.check(ReadData::All);
        assert_agreed(&case, &report);
        assert_eq!(
            report.broken_packs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [pack.name()],
            "{case}"
        );
        assert!(told.iter().any(|line| line.contains(pack.name())), "{case}: {told:?}");
        let lost = case.lost(&report);
        assert_eq!(lost, case.unreadable(), "{case}");
        assert!(report.affected.paths.iter().all(|path| path.loss == Loss::Content), "{case}");
        if damage.takes_all() {
            assert!(
                lost.contains(&("/src/first/large".to_owned(), 0))
                    && lost.contains(&("/src/first/large".to_owned(), 1)),
                "{case}: {lost:?}"
            );
        }
        // Only what lies outside of the blobs is damaged: everything can be read.
        let harmless = matches!(damage, Damage::FlippedAtEnd | Damage::CutByOne | Damage::Appended);
        assert_eq!(lost.is_empty(), harmless, "{case}: {lost:?}");
        case.repair_pack(&pack, damage);
        case.back_up();
        let healed = case.check(ReadData::All);
        assert!(healed.report.is_sound(), "{case}: {:?}", healed.told);
        assert_agreed(&case, &healed.report);
        assert!(case.unreadable().is_empty(), "{case}");
    });
}

#[test]
fn a_damaged_pack_of_trees_names_directories_and_the_next_backup_is_whole() {
    each(|damage| {
        let case = Base::get().case(format!("trees {damage:?}"));
        let pack = case.tree_pack_of_newest();
        case.damage(&pack, damage);
        let Found { report, told, .. } = case.check(ReadData::All);
        assert_agreed(&case, &report);
        assert_eq!(
            report.broken_packs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [pack.name()],
            "{case}"
        );
        assert!(told.iter().any(|line| line.contains(pack.name())), "{case}: {told:?}");
        assert_eq!(case.lost(&report), case.unreadable(), "{case}: {told:?}");
        assert!(report.affected.paths.iter().all(|path| path.loss == Loss::Directory), "{case}");
        case.repair_pack(&pack, damage);
        case.back_up();
        let after = case.check(ReadData::All);
        assert_agreed(&case, &after.report);
        // Directories have changed since, so their old trees are not made again; the new ones are all there.
        let newest = case.snapshots().pop().unwrap();
        assert!(!after.report.affected.snapshots.contains(&newest), "{case}: {:?}", after.told);
        case.restic(&["repair", "snapshots", "--forget"]);
        let healed = case.check(ReadData::All);
        assert!(healed.report.is_sound(), "{case}: {:?}", healed.told);
        assert_agreed(&case, &healed.report);
    });
}

#[test]
fn a_missing_pack_is_forgotten_by_repair_index_and_stored_again() {
    let case = Base::get().case("missing");
    let pack = case.pack_of("/src/first/large");
    case.remove(&pack);
    let quick = case.check(ReadData::Suspicious);
    assert!(quick.names(&pack) && quick.report.suggest_repair_index);
    assert_eq!(case.lost(&quick.report), case.unreadable());
    assert!(!case.restic_is_sound(&["check"]));
    case.restic(&["repair", "index"]);
    let forgotten = case.check(ReadData::Suspicious).report;
    assert!(!forgotten.is_sound() && forgotten.broken_packs.is_empty());
    assert_eq!(case.lost(&forgotten), case.unreadable());
    case.back_up();
    assert!(case.unreadable().is_empty());
    assert_agreed(&case, &case.check(ReadData::All).report);
}

#[test]
fn without_reading_data_what_the_end_of_a_pack_tells_is_found_and_then_read() {
    each(|damage| {
        let case = Base::get().case(format!("quick {damage:?}"));
        let pack = case.pack_of("/src/first/large");
        case.damage(&pack, damage);
        let Found { report, .. } = case.check(ReadData::Suspicious);
        let within_blobs = matches!(damage, Damage::FlippedAtStart | Damage::FlippedInTheMiddle);
        assert_eq!(report.is_sound(), within_blobs, "{case}: {report:?}");
        if !within_blobs {
            assert_eq!(case.lost(&report), case.unreadable(), "{case}");
        }
    });
}

#[test]
fn a_flipped_bit_is_found_in_every_byte_of_a_pack() {
    let case = Base::get().case("flipped");
    let repository = case.open().unwrap();
    let options = Options { lock: None, read_data: ReadData::All, snapshots: None };
    let pack = case.tree_pack_of_newest();
    let whole = case.read(&pack);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        case.overwrite(&pack, &bytes);
        let found = case.check_opened(&repository, &options);
        assert!(!found.report.is_sound() && found.names(&pack), "byte {at}");
        assert_eq!(found.report.broken_packs.len(), 1, "byte {at}");
    }
    case.overwrite(&pack, &whole);
    assert!(case.check_opened(&repository, &options).report.is_sound());
}

#[test]
fn a_pack_no_index_names_is_a_note() {
    let case = Base::get().case("unreferenced");
    let whole = case.read(&case.pack_of("/src/first/large"));
    let names: BTreeSet<FileName> = case.files(FileKind::Pack).into_iter().collect();
    for bytes in [whole[..100].to_vec(), Vec::new(), whole[1..].to_vec()] {
        case.add(FileKind::Pack, bytes);
    }
    assert_eq!(case.files(FileKind::Pack).len(), names.len() + 3);
    let found = case.check(ReadData::All);
    assert!(found.report.is_sound() && found.report.suggest_prune);
    assert_eq!((found.report.unreferenced_packs, found.report.packs_read), (3, 4));
    assert_agreed(&case, &found.report);
}

#[test]
fn a_filter_reads_only_what_the_chosen_snapshot_needs() {
    let case = Base::get().case("filter");
    let snapshots = case.snapshots();
    let found = case.check_snapshots(ReadData::All, vec![snapshots[0]]);
    assert_eq!((found.report.snapshots, found.report.packs_read), (1, 2));
    let second = case.pack_of("/src/second/new");
    case.damage(&second, Damage::FlippedAtStart);
    assert!(case.check_snapshots(ReadData::All, vec![snapshots[0]]).report.is_sound());
    assert!(!case.check_snapshots(ReadData::All, vec![snapshots[1]]).report.is_sound());
}

#[test]
fn a_cancelled_check_says_so_and_leaves_no_lock() {
    let case = Base::get().case("cancelled");
    assert!(matches!(case.check_cancelled_at_first_step(), Err(Error::Cancelled)));
    assert_eq!(case.files(FileKind::Lock), []);
    let _opened: repository::Repository = case.open().unwrap();
}
