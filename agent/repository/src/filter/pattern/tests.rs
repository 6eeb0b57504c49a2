use proptest::prelude::*;

use super::*;

fn list(patterns: &[&str], case: Case) -> PatternList {
    PatternList::parse("--exclude", patterns, case).expect("valid patterns")
}

fn check(pattern: &str, path: &str, expected: bool) {
    let matched = list(&[pattern], Case::Sensitive).matches(path.as_bytes());
    assert_eq!(matched, expected, "{pattern} {path}");
}

#[test]
fn patterns_match_as_restic_matches_them() {
    for (pattern, path, expected) in [
        ("/foo", "/foo", true),
        ("/foo", "/foo/bar", true),
        ("/foo", "/bar/foo", false),
        ("foo", "/bar/foo/baz", true),
        ("foo", "/barfoo", false),
        ("foo/bar", "/x/foo/bar/y", true),
        ("*.go", "/foo/bar/test.go", true),
        ("*.go", "/foo/test.go/bar", true),
        ("/*/b", "/a/b", true),
        ("/*/b", "/a/x/b", false),
        ("/a/**/b", "/a/b", true),
        ("/a/**/b", "/a/x/y/b/z", true),
        ("/a/**/b", "/x/a/b", false),
        ("a/**/b", "/x/a/y/b", true),
        ("foo/**", "/foo", true),
        ("**", "/x", true),
        ("**/foo", "/foo", true),
        ("/", "/x/y", true),
        ("/", "/", true),
        ("foo//bar/", "/foo/bar", true),
        ("x/../foo", "/foo", true),
        ("./foo", "/foo", true),
        ("\\!foo", "/!foo", true),
        ("foo", "foo/bar", true),
        ("/foo", "foo", false),
        ("..", "/a", false),
        ("foo**", "/foobar", true),
        ("foo**", "/x/foo/bar", true),
    ] {
        check(pattern, path, expected);
    }
}

#[test]
fn several_double_wildcards_share_restics_limit() {
    check("/a/**/b/**/c", "/a/b/c", false);
    check("/a/**/b/**/c", "/a/x/b/c", false);
    check("/a/**/b/**/c", "/a/b/x/c", true);
    check("/a/**/b/**/c", "/a/x/b/y/c", true);
    check("a/**/b/**/c", "/a/x/b/c", true);
}

#[test]
fn later_patterns_override_earlier_ones() {
    let patterns = list(&["*.log", "!keep.log", "/old/*"], Case::Sensitive);
    for (path, expected) in [("/a.log", true), ("/keep.log", false), ("/old/keep.log", true), ("/a", false)] {
        assert_eq!(patterns.matches(path.as_bytes()), expected, "{path}");
    }
    assert!(!list(&["!a", ""], Case::Sensitive).matches(b"/b"));
}

#[test]
fn case_is_ignored_for_letters_of_every_script() {
    let patterns = list(&["*.JPG", "ÄRGER", "[À-Ö]x", "İ"], Case::Insensitive);
    for (path, expected) in [
        ("/a.jpg", true),
        ("/A.JpG", true),
        ("/ärger", true),
        ("/Ärger", true),
        ("/âX", true),
        ("/i", true),
        ("/b", false),
    ] {
        assert_eq!(patterns.matches(path.as_bytes()), expected, "{path}");
    }
    assert!(list(&["\u{fffd}"], Case::Insensitive).matches(b"/\xff"));
    assert!(!list(&["\u{fffd}"], Case::Sensitive).matches(b"/\xff"));
}

#[test]
fn children_may_match_where_an_absolute_pattern_leads() {
    for (patterns, path, expected) in [
        (&["/a/b/c"][..], "/a", (false, true)),
        (&["/a/b/c"], "/a/b/c", (true, true)),
        (&["/a/b/c"], "/a/b/c/d", (true, true)),
        (&["/a/b/c"], "/a/x", (false, false)),
        (&["/a/**/c"], "/a/x/y", (false, true)),
        (&["/a/**/c"], "/b", (false, false)),
        (&["b"], "/x", (false, true)),
        (&["/a", "!/a/b"], "/a/b", (false, false)),
        (&["/a", "!x"], "/a", (true, true)),
        (&[], "/a", (false, false)),
    ] {
        let answer = list(patterns, Case::Sensitive).matches_with_child(path.as_bytes());
        assert_eq!(answer, expected, "{patterns:?} {path}");
    }
}

#[test]
fn an_empty_list_and_an_empty_path_match_nothing() {
    assert!(list(&["", ""], Case::Sensitive).is_empty());
    assert!(!list(&[], Case::Sensitive).matches(b"/a"));
    assert!(!list(&["*"], Case::Sensitive).matches(b""));
}

#[test]
fn every_invalid_pattern_is_named() {
    let error =
        PatternList::parse("--iexclude", &["A[", "ok", "x/[]/y"], Case::Insensitive).expect_err("invalid");
    assert_eq!(error.to_string(), "--iexclude: invalid pattern \"A[\", \"x/[]/y\"");
}

/// restic's rule by its definition: each `**` in turn becomes 0, 1, 2... stars, as long as the pattern, with
/// the `**` still to come counted as one component, is no longer than the path.
fn matches_by_definition(pattern: &[&str], path: &[&str]) -> bool {
    if let Some(at) = pattern.iter().position(|&part| part == "**") {
        return (0..=(path.len() + 1).saturating_sub(pattern.len())).any(|count| {
            let expanded = [&pattern[..at], &vec!["*"; count], &pattern[at + 1..]].concat();
            pattern.len() <= path.len() + 1 && matches_by_definition(&expanded, path)
        });
    }
    let equal = |start: usize| {
        pattern.iter().zip(&path[start..]).all(|(&glob, &name)| glob == name || (glob == "*" && name != "/"))
    };
    if pattern.is_empty() || pattern.len() > path.len() {
        return false;
    }
    if pattern[0] == "/" { equal(0) } else { (0..=path.len() - pattern.len()).any(equal) }
}

proptest! {
    #[test]
    fn double_wildcards_match_as_their_expansions_do(
        pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "**"]), 1..7),
        path in prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..7),
        is_absolute in any::<bool>(),
    ) {
        let slash = if is_absolute { "/" } else { "" };
        let written = format!("{slash}{}", pattern.join("/"));
        let parts = if is_absolute { [&["/"], &*pattern].concat() } else { pattern };
        let expected = matches_by_definition(&parts, &[&["/"], &*path].concat());
        check(&written, &format!("/{}", path.join("/")), expected);
    }

    #[test]
    fn nothing_makes_parsing_or_matching_panic(
        pattern in prop::collection::vec(prop::sample::select(b"/!*?[]^-\\.ab\xc3\xa4\xff".to_vec()), 0..12),
        path in prop::collection::vec(prop::sample::select(b"/ab.\xc3\xa4\xff".to_vec()), 0..12),
    ) {
        for case in [Case::Sensitive, Case::Insensitive] {
            if let Ok(patterns) = PatternList::parse("--exclude", &[&pattern], case) {
                let (matched, _) = patterns.matches_with_child(&path);
                prop_assert_eq!(matched, patterns.matches(&path));
            }
        }
    }
}
