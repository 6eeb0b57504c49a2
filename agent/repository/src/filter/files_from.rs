//! Lists of targets: `--files-from`, `--files-from-verbatim`, `--files-from-raw`.
//!
//! Read as restic reads them. The first kind holds patterns that are expanded against the file system, by
//! Go's `filepath.Glob`: components are globs, names that begin with a dot match like others, what cannot be
//! listed matches nothing. The file system is asked through closures.

use super::glob::{Glob, Malformed};
use super::{path, text};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidList {
    #[error("pattern: {0}: syntax error in pattern")]
    Pattern(String),
    #[error("--files-from-raw: trailing zero byte missing")]
    Unterminated,
    /// An empty name would be cleaned into the working directory.
    #[error("--files-from-raw: empty filename in listing")]
    EmptyName,
}

/// The patterns of a `--files-from` list: trimmed lines, without blank ones and `#` comments. Each goes
/// through [`expand`]; one that matches nothing is worth a warning, and no error.
pub fn patterns(list: &[u8]) -> Vec<Vec<u8>> {
    text::significant_lines(list).map(<[u8]>::to_vec).collect()
}

/// The paths of a `--files-from-verbatim` list: lines as they are, without empty ones.
pub fn verbatim(list: &[u8]) -> Vec<Vec<u8>> {
    text::lines(list).map(<[u8]>::to_vec).collect()
}

/// The paths of a `--files-from-raw` list: each ends in a zero byte, the last one too.
pub fn raw(list: &[u8]) -> Result<Vec<Vec<u8>>, InvalidList> {
    if list.is_empty() {
        return Ok(Vec::new());
    }
    // restic reads name by name, so an empty one is met before a missing end.
    let terminated = list.strip_suffix(b"\0");
    let names: Vec<_> = terminated.unwrap_or(list).split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
    if names.iter().any(Vec::is_empty) {
        return Err(InvalidList::EmptyName);
    }
    if terminated.is_some() { Ok(names) } else { Err(InvalidList::Unterminated) }
}

/// The file system as a pattern sees it.
pub trait Listing {
    /// Whether there is anything at `path` (`lstat`).
    fn exists(&mut self, path: &[u8]) -> bool;

    /// The names in the directory `path`, links followed; none where it is no directory or cannot be read.
    fn names(&mut self, path: &[u8]) -> Vec<Vec<u8>>;
}

/// The paths `pattern` names, those of one directory in the order of their bytes.
pub fn expand(pattern: &[u8], listing: &mut dyn Listing) -> Result<Vec<Vec<u8>>, InvalidList> {
    expand_globs(pattern, listing).map_err(|Malformed| InvalidList::Pattern(path::lossy(pattern)))
}

fn expand_globs(pattern: &[u8], listing: &mut dyn Listing) -> Result<Vec<Vec<u8>>, Malformed> {
    // From the outermost directory inwards. Everything is compiled before anything is listed, so that a
    // malformed pattern is one whatever there is on disk.
    let mut globs = Vec::new();
    let mut prefix = pattern;
    while has_meta(prefix) {
        let slash = prefix.iter().rposition(|&byte| byte == b'/');
        let (directory, name) = match slash {
            None => (&b"."[..], prefix),
            Some(0) => (&b"/"[..], &prefix[1..]),
            Some(slash) => (&prefix[..slash], &prefix[slash + 1..]),
        };
        globs.push(Glob::compile(name)?);
        prefix = directory;
    }
    if globs.is_empty() {
        return Ok(if listing.exists(prefix) { vec![prefix.to_vec()] } else { Vec::new() });
    }
    let mut found = vec![prefix.to_vec()];
    for glob in globs.iter().rev() {
        let mut next = Vec::new();
        for directory in found {
            let mut names = listing.names(&directory);
            names.sort();
            next.extend(
                names.iter().filter(|name| glob.matches(name)).map(|name| path::join(&directory, name)),
            );
        }
        found = next;
    }
    Ok(found)
}

fn has_meta(path: &[u8]) -> bool {
    path.iter().any(|byte| b"*?[\\".contains(byte))
}

#[cfg(test)]
mod tests;
