use super::*;

/// A file system of these paths; what has something below it is a directory.
struct Paths(&'static [&'static str]);

impl Listing for Paths {
    fn exists(&mut self, path: &[u8]) -> bool {
        self.0.iter().any(|known| known.as_bytes() == path)
    }

    fn names(&mut self, path: &[u8]) -> Vec<Vec<u8>> {
        let directory = path::clean(path);
        let mut names: Vec<_> = self
            .0
            .iter()
            .map(|known| known.as_bytes())
            .filter(|known| path::parent(known) == directory)
            .map(|known| known.rsplit(|&byte| byte == b'/').next().expect("a name").to_vec())
            .collect();
        names.reverse();
        names
    }
}

fn check(pattern: &str, expected: &[&str]) {
    let mut paths = Paths(&[
        "a", "a/x1", "a/x2", "b", "b/x1", "b/.x", "b/[1]", "c", "/r", "/r/s", "/r/s/t", "/r/u", "/r/u/t",
    ]);
    let found = expand(pattern.as_bytes(), &mut paths).expect("a valid pattern");
    let found: Vec<_> = found.iter().map(|path| path::lossy(path)).collect();
    assert_eq!(found, expected, "{pattern}");
}

#[test]
fn patterns_are_expanded_as_by_go() {
    check("a", &["a"]);
    check("missing", &[]);
    check("?", &["a", "b", "c"]);
    check("*/x1", &["a/x1", "b/x1"]);
    check("b/*", &["b/.x", "b/[1]", "b/x1"]);
    check("b/\\[1]", &["b/[1]"]);
    check("./a/*", &["a/x1", "a/x2"]);
    check("a//x*", &["a/x1", "a/x2"]);
    check("/*", &["/r"]);
    check("/r/*/t", &["/r/s/t", "/r/u/t"]);
    check("a*/", &[]);
    check("nowhere/*", &[]);
}

#[test]
fn a_malformed_pattern_is_named_whatever_is_on_disk() {
    for pattern in ["[", "nowhere/a*[", "a[/]b", "x\\"] {
        let error = expand(pattern.as_bytes(), &mut Paths(&[])).expect_err("malformed");
        assert_eq!(error.to_string(), format!("pattern: {pattern}: syntax error in pattern"));
    }
}

#[test]
fn lists_are_read_line_by_line_or_as_they_are() {
    let list = b" a \r\n#c\n\n  #d\n\xff*\n";
    assert_eq!(patterns(list), [b"a".to_vec(), b"\xff*".to_vec()]);
    assert_eq!(verbatim(list), [&b" a "[..], b"#c", b"  #d", b"\xff*"]);
}

#[test]
fn raw_lists_end_each_name_with_a_zero_byte() {
    assert_eq!(raw(b""), Ok(vec![]));
    assert_eq!(raw(b"a\n\0 b\0"), Ok(vec![b"a\n".to_vec(), b" b".to_vec()]));
    assert_eq!(raw(b"a\0b"), Err(InvalidList::Unterminated));
    assert_eq!(raw(b"a\0\0b\0"), Err(InvalidList::EmptyName));
    assert_eq!(raw(b"\0"), Err(InvalidList::EmptyName));
    assert_eq!(raw(b"\0b"), Err(InvalidList::EmptyName));
}
