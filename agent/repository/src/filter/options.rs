//! The four options by which patterns come in: `--exclude` and `--iexclude`, by hand and by file, and the
//! same for `--include`.
//!
//! As in restic the patterns of files follow those given by hand, so that a `!` in a file takes back what a
//! hand-written pattern matched, and the two kinds of case are two lists that know nothing of each other.

use super::pattern::{Case, InvalidPatterns, PatternList};

/// Patterns as written. Those of files come through [`super::text::patterns`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatternOptions {
    pub patterns: Vec<Vec<u8>>,
    pub insensitive_patterns: Vec<Vec<u8>>,
    pub file_patterns: Vec<Vec<u8>>,
    pub insensitive_file_patterns: Vec<Vec<u8>>,
}

impl PatternOptions {
    /// Whether nothing was given. An empty pattern is something: restoring with `--include ''` alone
    /// restores nothing.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
            && self.insensitive_patterns.is_empty()
            && self.file_patterns.is_empty()
            && self.insensitive_file_patterns.is_empty()
    }

    /// Prepares the patterns of `--exclude` and its kin.
    pub fn parse_excludes(&self) -> Result<Patterns, InvalidPatterns> {
        self.parse(["--exclude-file", "--iexclude-file", "--iexclude", "--exclude"])
    }

    /// Prepares the patterns of `--include` and its kin.
    pub fn parse_includes(&self) -> Result<Patterns, InvalidPatterns> {
        self.parse(["--include-file", "--iinclude-file", "--iinclude", "--include"])
    }

    fn parse(&self, options: [&'static str; 4]) -> Result<Patterns, InvalidPatterns> {
        // Files are judged first and for themselves, so that the error names the option that is at fault.
        PatternList::parse(options[0], &self.file_patterns, Case::Sensitive)?;
        PatternList::parse(options[1], &self.insensitive_file_patterns, Case::Insensitive)?;
        let insensitive = [&*self.insensitive_patterns, &*self.insensitive_file_patterns].concat();
        let sensitive = [&*self.patterns, &*self.file_patterns].concat();
        Ok(Patterns {
            insensitive: PatternList::parse(options[2], &insensitive, Case::Insensitive)?,
            sensitive: PatternList::parse(options[3], &sensitive, Case::Sensitive)?,
        })
    }
}

/// Patterns of both kinds, ready to match.
#[derive(Clone, Debug)]
pub struct Patterns {
    insensitive: PatternList,
    sensitive: PatternList,
}

impl Patterns {
    pub fn is_empty(&self) -> bool {
        self.insensitive.is_empty() && self.sensitive.is_empty()
    }

    /// Whether either list matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.insensitive.matches(path) || self.sensitive.matches(path)
    }

    /// Whether either list matches, and whether either may match below the directory `path`.
    pub fn matches_with_child(&self, path: &[u8]) -> (bool, bool) {
        let (matched, child) = self.insensitive.matches_with_child(path);
        if matched && child {
            return (true, true);
        }
        let (also_matched, also_child) = self.sensitive.matches_with_child(path);
        (matched || also_matched, child || also_child)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(patterns: &[&str]) -> Vec<Vec<u8>> {
        patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect()
    }

    #[test]
    fn patterns_of_files_override_those_given_by_hand() {
        let options = PatternOptions {
            patterns: bytes(&["*.log"]),
            file_patterns: bytes(&["!keep.log"]),
            ..PatternOptions::default()
        };
        let patterns = options.parse_excludes().expect("valid");
        assert!(patterns.matches(b"/a.log"));
        assert!(!patterns.matches(b"/keep.log"));
    }

    #[test]
    fn lists_of_different_case_do_not_override_each_other() {
        let options = PatternOptions {
            patterns: bytes(&["*.log"]),
            insensitive_patterns: bytes(&["*.LOG", "!KEEP.log"]),
            ..PatternOptions::default()
        };
        let patterns = options.parse_excludes().expect("valid");
        assert!(patterns.matches(b"/keep.log"));
        assert!(!patterns.matches(b"/Keep.Log"));
    }

    #[test]
    fn the_error_names_the_option_and_each_invalid_pattern() {
        for (options, expected) in [
            (
                PatternOptions { patterns: bytes(&["[", "ok", "a*["]), ..PatternOptions::default() },
                "--exclude: invalid pattern \"[\", \"a*[\"",
            ),
            (
                PatternOptions { insensitive_patterns: bytes(&["[]"]), ..PatternOptions::default() },
                "--iexclude: invalid pattern \"[]\"",
            ),
            (
                PatternOptions { file_patterns: bytes(&["x\\"]), ..PatternOptions::default() },
                "--exclude-file: invalid pattern \"x\\\\\"",
            ),
        ] {
            assert_eq!(options.parse_excludes().expect_err("invalid").to_string(), expected);
        }
    }
}
