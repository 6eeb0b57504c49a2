//! What `find` looks for: patterns of the same engine, each for itself.
//!
//! Unlike the lists of exclude and include, one pattern cannot take back what another found: a `!` in front
//! is dropped, and the empty pattern finds everything. As in restic.

use super::pattern::{Case, InvalidPatterns, PatternList};

/// Patterns to find paths of a snapshot by.
#[derive(Clone, Debug)]
pub struct FindPatterns {
    patterns: PatternList,
    finds_everything: bool,
}

impl FindPatterns {
    pub fn parse<P: AsRef<[u8]>>(patterns: &[P], case: Case) -> Result<Self, InvalidPatterns> {
        Ok(Self {
            patterns: PatternList::parse("find", patterns, case)?,
            finds_everything: patterns.iter().any(|pattern| pattern.as_ref().is_empty()),
        })
    }

    /// Whether a pattern matches `path`, which is absolute within the snapshot.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.finds_everything || self.patterns.any_matches(path)
    }

    /// Whether looking into the directory `path` is worth while.
    pub fn may_match_below(&self, path: &[u8]) -> bool {
        self.finds_everything || self.patterns.any_may_match_below(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pattern_finds_for_itself() {
        let find = FindPatterns::parse(&["*.txt", "!a.txt"], Case::Sensitive).expect("valid");
        assert!(find.matches(b"/a.txt"));
        assert!(find.matches(b"/b.txt"));
        assert!(!find.matches(b"/B.TXT"));
        assert!(FindPatterns::parse(&["b.txt"], Case::Insensitive).expect("valid").matches(b"/B.TXT"));
    }

    #[test]
    fn the_empty_pattern_finds_everything() {
        let find = FindPatterns::parse(&[""], Case::Sensitive).expect("valid");
        assert!(find.matches(b"/a") && find.may_match_below(b"/a"));
    }

    #[test]
    fn only_directories_on_the_way_of_an_absolute_pattern_are_looked_into() {
        let find = FindPatterns::parse(&["/a/b/c"], Case::Sensitive).expect("valid");
        assert!(find.may_match_below(b"/a"));
        assert!(!find.may_match_below(b"/x"));
    }
}
