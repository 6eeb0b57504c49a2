//! Slash-separated paths as bytes, cleaned, joined and split as Go's `path/filepath` does it on Unix.
//!
//! restic's patterns, targets and snapshot paths all go through those functions, so their corner cases
//! (`..` above the root, repeated and trailing slashes, the empty path) are part of what people see. Purely
//! lexical: no link is ever looked at.

/// The shortest path that means the same: no `.`, no repeated or trailing slash, `..` only at the front of
/// a relative path. The empty path is `.`.
pub(super) fn clean(path: &[u8]) -> Vec<u8> {
    let absolute = path.first() == Some(&b'/');
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => match components.last() {
                Some(&last) if last != b".." => {
                    components.pop();
                }
                _ if absolute => {}
                _ => components.push(component),
            },
            _ => components.push(component),
        }
    }
    let mut cleaned = Vec::with_capacity(path.len());
    if absolute {
        cleaned.push(b'/');
    }
    cleaned.extend_from_slice(&components.join(&b'/'));
    if cleaned.is_empty() {
        cleaned.push(b'.');
    }
    cleaned
}

/// `name` below `directory`, cleaned. An empty part is as if it were not there.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        return if name.is_empty() { Vec::new() } else { clean(name) };
    }
    clean(&[directory, b"/", name].concat())
}

/// What `path` is called from anywhere, if relative paths start at `working_directory`.
pub fn absolute(path: &[u8], working_directory: &[u8]) -> Vec<u8> {
    if path.first() == Some(&b'/') { clean(path) } else { join(working_directory, path) }
}

/// The directory the cleaned `path` is in; the root is in itself.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        None => b".",
        Some(0) => b"/",
        Some(slash) => &path[..slash],
    }
}

/// Whether the cleaned `path` is the cleaned directory `base`, or lies below it.
pub(super) fn is_within(path: &[u8], base: &[u8]) -> bool {
    match path.strip_prefix(base) {
        Some(rest) => rest.is_empty() || rest[0] == b'/' || base == b"/",
        None => false,
    }
}

/// Bytes for a place that can hold only Unicode. Each byte that is no part of a character becomes U+FFFD,
/// as in Go, where Rust's own conversion puts one for a whole broken sequence.
pub(super) fn lossy(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// The first character and its length; a byte that begins none is U+FFFD of length 1. `bytes` is not empty.
pub(super) fn decode_character(bytes: &[u8]) -> (char, usize) {
    let length = match bytes[0] {
        ascii @ 0..0x80 => return (char::from(ascii), 1),
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => return (char::REPLACEMENT_CHARACTER, 1),
    };
    match bytes.get(..length).and_then(|sequence| str::from_utf8(sequence).ok()) {
        Some(text) => (text.chars().next().expect("a valid sequence holds a character"), length),
        None => (char::REPLACEMENT_CHARACTER, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_by_go() {
        for (path, expected) in [
            ("", "."),
            (".", "."),
            ("/", "/"),
            ("//a///b/", "/a/b"),
            ("./a/./b/..", "a"),
            ("a/../..", ".."),
            ("../../a/..", "../.."),
            ("/../../a", "/a"),
            ("a/..", "."),
            ("...", "..."),
            ("/..", "/"),
        ] {
            assert_eq!(clean(path.as_bytes()), expected.as_bytes(), "{path:?}");
        }
    }

    #[test]
    fn joining_cleans_and_ignores_what_is_empty() {
        for (directory, name, expected) in [
            (".", "a", "a"),
            ("/", "a", "/a"),
            ("..", "a", "../a"),
            ("", "a/", "a"),
            ("a", "", "a"),
            ("", "", ""),
        ] {
            assert_eq!(join(directory.as_bytes(), name.as_bytes()), expected.as_bytes());
        }
    }

    #[test]
    fn a_directory_holds_itself_and_what_is_below_it_only() {
        assert!(is_within(b"/a/b", b"/a"));
        assert!(is_within(b"/a", b"/a"));
        assert!(is_within(b"/a", b"/"));
        assert!(!is_within(b"/ab", b"/a"));
        assert!(!is_within(b"/", b"/a"));
    }

    #[test]
    fn every_broken_byte_is_one_replacement_character() {
        assert_eq!(lossy(b"a\xf0\x9f\x98b"), "a\u{fffd}\u{fffd}\u{fffd}b");
        assert_eq!(decode_character(b"\xe2\x82"), (char::REPLACEMENT_CHARACTER, 1));
        assert_eq!(decode_character(b"\xed\xa0\x80"), (char::REPLACEMENT_CHARACTER, 1));
        assert_eq!(decode_character("€x".as_bytes()), ('€', 3));
    }
}
