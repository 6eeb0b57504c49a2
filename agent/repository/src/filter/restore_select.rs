//! Which entries of a snapshot a restore writes, and which directories it has to look into.
//!
//! As restic's restore: includes or excludes, not both; paths are absolute within the restored folder of the
//! snapshot. A directory that is not selected itself is still made, with its metadata, when something below
//! it was.

use super::options::{PatternOptions, Patterns};
use super::pattern::InvalidPatterns;

/// What to do with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected {
    pub entry: bool,
    /// Whether something below may be selected: the directory has to be read. Never for what is no directory.
    pub children: bool,
}

/// The selection of a restore.
#[derive(Clone, Debug)]
pub enum RestoreSelect {
    Everything,
    Only(Patterns),
    AllBut(Patterns),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelection {
    #[error(transparent)]
    Patterns(#[from] InvalidPatterns),
    #[error("exclude and include patterns are mutually exclusive")]
    Both,
}

impl RestoreSelect {
    pub fn parse(includes: &PatternOptions, excludes: &PatternOptions) -> Result<Self, InvalidSelection> {
        let (all_but, only) = (excludes.parse_excludes()?, includes.parse_includes()?);
        match (includes.is_empty(), excludes.is_empty()) {
            (true, true) => Ok(Self::Everything),
            (false, true) => Ok(Self::Only(only)),
            (true, false) => Ok(Self::AllBut(all_but)),
            (false, false) => Err(InvalidSelection::Both),
        }
    }

    /// Whether every entry is selected, so that nobody needs to build paths to ask.
    pub fn is_everything(&self) -> bool {
        matches!(self, Self::Everything)
    }

    pub fn select(&self, path: &[u8], is_directory: bool) -> Selected {
        match self {
            Self::Everything => Selected { entry: true, children: is_directory },
            Self::Only(patterns) => {
                let (entry, child) = patterns.matches_with_child(path);
                Selected { entry, children: child && is_directory }
            }
            // Below an excluded directory nothing is selected, even if a `!` pattern would match there.
            Self::AllBut(patterns) => {
                let entry = !patterns.matches(path);
                Selected { entry, children: entry && is_directory }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(patterns: &[&str]) -> PatternOptions {
        PatternOptions {
            patterns: patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect(),
            ..PatternOptions::default()
        }
    }

    #[test]
    fn includes_lead_to_what_they_name() {
        let select = RestoreSelect::parse(&options(&["/a/b"]), &options(&[])).expect("valid");
        for (path, is_directory, entry, children) in [
            ("/a", true, false, true),
            ("/a/b", true, true, true),
            ("/a/b/c", false, true, false),
            ("/a/x", true, false, false),
            ("/x", true, false, false),
        ] {
            assert_eq!(select.select(path.as_bytes(), is_directory), Selected { entry, children }, "{path}");
        }
    }

    #[test]
    fn excludes_end_at_the_directory_they_name() {
        let select = RestoreSelect::parse(&options(&[]), &options(&["b", "!c"])).expect("valid");
        assert_eq!(select.select(b"/a", true), Selected { entry: true, children: true });
        assert_eq!(select.select(b"/a/b", true), Selected { entry: false, children: false });
    }

    #[test]
    fn both_kinds_at_once_are_refused() {
        let refused = RestoreSelect::parse(&options(&["a"]), &options(&["b"])).expect_err("refused");
        assert_eq!(refused, InvalidSelection::Both);
    }

    #[test]
    fn an_empty_include_restores_nothing_and_none_restores_everything() {
        let select = RestoreSelect::parse(&options(&[""]), &options(&[])).expect("valid");
        assert_eq!(select.select(b"/a", true), Selected { entry: false, children: false });
        assert!(RestoreSelect::parse(&options(&[]), &options(&[])).expect("valid").is_everything());
    }
}
