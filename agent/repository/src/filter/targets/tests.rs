use std::fmt::Write;

use super::*;

/// Draws a tree, one node a line: `name = path` is a leaf, `!` an explicit one, `name < path` a directory
/// with the metadata of the path.
fn draw(children: &Children, indent: usize, drawing: &mut String) {
    for (name, node) in children {
        let name = path::lossy(name);
        let (sign, path) = match node {
            TargetNode::Leaf { path, explicit: true } => ('!', path),
            TargetNode::Leaf { path, explicit: false } => ('=', path),
            TargetNode::Directory { metadata_path, .. } => ('<', metadata_path),
        };
        writeln!(drawing, "{:indent$}{name} {sign} {}", "", path::lossy(path)).expect("a string takes it");
        if let TargetNode::Directory { children, .. } = node {
            draw(children, indent + 1, drawing);
        }
    }
}

fn build(targets: &[&str]) -> Result<String, TargetError> {
    let targets: Vec<_> = targets.iter().map(|target| target.as_bytes().to_vec()).collect();
    let tree = TargetTree::build(&targets, &mut |path| match path {
        b"." => Ok(vec![b"z".to_vec(), b"a".to_vec()]),
        b".." => Ok(vec![b"a".to_vec()]),
        b"/" => Ok(vec![b"etc".to_vec()]),
        b"a" => Ok(vec![b"b".to_vec(), b"c".to_vec()]),
        b"a/b" => Ok(vec![b"x".to_vec(), b"y".to_vec()]),
        _ => Err(io::ErrorKind::NotADirectory.into()),
    })?;
    let mut drawing = String::new();
    draw(&tree.children, 0, &mut drawing);
    Ok(drawing)
}

fn check(targets: &[&str], expected: &[&str]) {
    let drawing = build(targets).expect("laid out");
    assert_eq!(drawing.lines().collect::<Vec<_>>(), expected, "{targets:?}");
}

#[test]
fn targets_keep_the_path_they_were_given_by() {
    check(&["/etc/x", "/etc/y/"], &["etc < /etc", " x ! /etc/x", " y ! /etc/y"]);
    check(&["p/q", "./p//r"], &["p < p", " q ! p/q", " r ! p/r"]);
    check(&["../../p/q"], &["p < ../../p", " q ! ../../p/q"]);
    check(&["p/../q"], &["q ! q"]);
}

#[test]
fn bare_directories_stand_for_what_is_in_them() {
    check(&["."], &["a = a", "z = z"]);
    check(&[".."], &["a = ../a"]);
    check(&["/"], &["etc = /etc"]);
    check(&["p/.."], &["a = a", "z = z"]);
}

#[test]
fn equal_names_from_different_places_are_numbered() {
    check(&["a", "../a", "/a"], &["a ! a", "a-1 ! ../a", "a-2 ! /a"]);
    check(&["/a/x", "a/x", "/a/y"], &["a < /a", " x ! /a/x", " y ! /a/y", "a-1 < a", " x ! a/x"]);
    check(&["p", "../p", "../p-1"], &["p ! p", "p-1 ! ../p", "p-1-1 ! ../p-1"]);
    check(&["../p-1", "p", "../p"], &["p ! p", "p-1 ! ../p-1", "p-2 ! ../p"]);
}

#[test]
fn a_target_inside_another_splits_it() {
    check(&["a", "a/b/x"], &["a < a", " b < a/b", "  x ! a/b/x", "  y = a/b/y", " c = a/c"]);
    check(&["a/b/x", "a"], &["a < a", " b < a/b", "  x ! a/b/x", "  y = a/b/y", " c = a/c"]);
    check(&["a", "a/new"], &["a < a", " b = a/b", " c = a/c", " new ! a/new"]);
}

#[test]
fn the_first_of_equal_targets_decides_whether_it_is_explicit() {
    check(&[".", "a"], &["a = a", "z = z"]);
    check(&["a", "."], &["a ! a", "z = z"]);
}

#[test]
fn a_directory_that_cannot_be_listed_is_an_error() {
    let error = build(&["file", "file/x"]).expect_err("not a directory");
    assert_eq!(error.to_string(), "list file: not a directory");
}

#[test]
fn missing_targets_are_named_and_none_given_is_an_error() {
    let targets = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
    let mut lstat = |path: &[u8]| match path {
        b"there" => Ok(()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let found = existing(targets(&["gone", "there", ""]), &mut lstat).expect("one is there");
    assert_eq!(found.targets, targets(&["there"]));
    assert_eq!(found.missing.iter().map(|m| m.path.clone()).collect::<Vec<_>>(), targets(&["gone", ""]));
    assert!(matches!(existing(Vec::new(), &mut lstat), Err(TargetError::NoTargets)));
}

#[test]
fn snapshot_paths_are_absolute_and_in_the_order_given() {
    let targets = ["z", "/b/../a/", ".", "z", "../y"].map(|target| target.as_bytes().to_vec());
    let expected = ["/w/d/z", "/a", "/w/d", "/w/d/z", "/w/y"].map(|path| path.as_bytes().to_vec());
    assert_eq!(snapshot_paths(&targets, b"/w/d"), expected);
}
