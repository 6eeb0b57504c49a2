//! Which packs are read whole.

use super::packs::Packs;
use super::{Check, Options, ReadData};

/// A part of the packs, as `--read-data-subset` names it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Subset {
    /// The group `number` of `groups`, both from 1; a pack's group is its ID's first byte modulo `groups`.
    Group { number: u64, groups: u64 },
    /// Above 0, at most 100; drawn at random.
    Percent(f64),
    /// About so many bytes, drawn at random.
    Bytes(u64),
}

pub(super) struct Chosen {
    /// Positions in the index's packs.
    pub(super) packs: Vec<u32>,
    pub(super) message: Option<String>,
}

pub(super) fn choose(check: &Check<'_>, packs: &Packs, options: &Options) -> Chosen {
    let is_filtered = options.snapshots.is_some();
    let is_needed = |pack: &u32| {
        !is_filtered || packs.blobs_of(*pack).iter().any(|position| check.used.contains(*position as usize))
    };
    let candidates = || -> Vec<u32> { packs.referenced().filter(is_needed).collect() };
    let filtered = if is_filtered { "filtered " } else { "" };
    match options.read_data {
        ReadData::Suspicious => Chosen { packs: Vec::new(), message: None },
        ReadData::All => Chosen { packs: candidates(), message: Some(format!("read all {filtered}data")) },
        ReadData::Subset(Subset::Group { number, groups }) => {
            let all = candidates();
            let total = all.len();
            let in_group = |pack: &u32| {
                u64::from(check.index.packs()[*pack as usize].as_bytes()[0]) % groups.max(1) + 1 == number
            };
            let packs: Vec<u32> = all.into_iter().filter(in_group).collect();
            let message = format!(
                "read group #{number} of {} {filtered}data packs (out of total {total} packs in {groups} groups)",
                packs.len()
            );
            Chosen { packs, message: Some(message) }
        }
        ReadData::Subset(Subset::Percent(percent)) => {
            let message = Some(format!("read {percent:.1}% of {filtered}packs"));
            Chosen { packs: draw(candidates(), percent), message }
        }
        ReadData::Subset(Subset::Bytes(bytes)) => {
            let all = candidates();
            let total: u64 = all.iter().filter_map(|pack| packs.size_bytes(*pack)).sum();
            let bytes = bytes.min(total);
            let percent = if total == 0 { 100.0 } else { bytes as f64 / total as f64 * 100.0 };
            let message = Some(format!("read {bytes} bytes ({percent:.1}%) of {filtered}data packs"));
            Chosen { packs: draw(all, percent), message }
        }
    }
}

/// At least one, where there is any; rounded down otherwise, as restic does.
fn draw(mut packs: Vec<u32>, percent: f64) -> Vec<u32> {
    let count = (packs.len() as f64 * (percent / 100.0)) as usize;
    fastrand::shuffle(&mut packs);
    packs.truncate(count.max(1));
    packs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_drawn_without_repetition_and_is_never_nothing() {
        let check = |total: u32, percent, expected| {
            let mut drawn = draw((0..total).collect(), percent);
            drawn.sort_unstable();
            drawn.dedup();
            assert_eq!(drawn.len(), expected, "{percent}% of {total}");
        };
        check(0, 50.0, 0);
        check(10, 0.001, 1);
        check(10, 25.0, 2);
        check(10, 100.0, 10);
    }
}
