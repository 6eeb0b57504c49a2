//! Patterns: what backup, restore and find keep, fixed lists and random ones, and what is refused.
//!
//! Each list is one call of restic and one walk of ours over the same source.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use pillion_repository::filter::{
    Case, ExcludeOptions, FindPatterns, PatternList, PatternOptions, RestoreSelect, TargetTree, text,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRng, TestRunner};

use super::*;
use crate::restic::{Repository, run};

/// How often restic is asked about random patterns, for each of backup, restore and find.
const RANDOM_LISTS: usize = 15;

type Patterns = Vec<Vec<u8>>;

fn fixed_lists() -> Vec<Patterns> {
    let lists: &[&[&str]] = &[
        &["*"],
        &["*", "!*.txt"],
        &["*.txt", "!b.txt", "/d/b.txt"],
        &["/d/**/a"],
        &["d/**/d/**/b.txt"],
        &["/d/**/d/**/b.txt", "/e/**/y/**/z/**/a"],
        &["**"],
        &["/"],
        &["**/a", "!/d/**"],
        &["[a-b]", "\\[ab\\]", "a\\?b"],
        &["a?b"],
        &["a[^b]b", "!a b"],
        &["ä*", "[à-ÿ]", "?"],
        &["\u{fffd}", "x\u{fffd}y"],
        &["σς", "İ", "D/a", "Ä.txt"],
        &["/d/../e/./x//y/", "./#c"],
        &["\\!a", "!!a"],
        &["!a", "a", ""],
        &["/d/d", "!/d/d/d"],
        &["/e/*/y"],
        &["d/a b", "-"],
    ];
    let mut lists: Vec<Patterns> =
        lists.iter().map(|list| list.iter().map(|pattern| pattern.as_bytes().to_vec()).collect()).collect();
    lists.push(vec![b"x\xffy".to_vec(), b"*\xff".to_vec()]);
    lists
}

/// Lists of patterns that are valid, always the same ones.
fn random_lists(count: usize) -> Vec<Patterns> {
    let component = prop::sample::select(vec![
        "a", "A", "b.txt", "*", "?", "**", "d", "e", "D", "[ab]", "[^a]*", "*.txt", "*.TXT", "a?b", "a\\*b",
        "\\[ab\\]", "ä*", "[à-ÿ]*", "x?y", "..", ".", "*b*", "*[!a]", "e?", "日*", "**.txt", "", "!a", "f",
        "y",
    ]);
    let built = (prop::sample::select(vec!["", "", "/", "!", "!/"]), prop::collection::vec(component, 1..5))
        .prop_map(|(prefix, components)| format!("{prefix}{}", components.join("/")).into_bytes());
    let typed = prop::collection::vec(prop::sample::select(b"aabd.**?[]^-\\/!\xc3\xa4\xff".to_vec()), 1..6);
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(Default::default()));
    let strategy = prop::collection::vec(prop_oneof![3 => built, 1 => typed], 1..4);
    std::iter::repeat_with(|| strategy.new_tree(&mut runner).expect("a list").current())
        .filter(|list| PatternList::parse("--exclude", list, Case::Sensitive).is_ok())
        .take(count)
        .collect()
}

fn argument(option: &str, pattern: &[u8]) -> OsString {
    OsString::from_vec([option.as_bytes(), b"=", pattern].concat())
}

fn options(patterns: &Patterns, case: Case) -> PatternOptions {
    match case {
        Case::Sensitive => PatternOptions { patterns: patterns.clone(), ..PatternOptions::default() },
        Case::Insensitive => {
            PatternOptions { insensitive_patterns: patterns.clone(), ..PatternOptions::default() }
        }
    }
}

/// Every second list ignores case.
fn with_case(lists: Vec<Patterns>) -> impl Iterator<Item = (Patterns, Case)> {
    lists.into_iter().zip([Case::Sensitive, Case::Insensitive].into_iter().cycle())
}

#[test]
fn a_backup_leaves_out_what_restic_leaves_out() {
    let repository = Repository::create();
    let source = tempfile::tempdir().expect("a temporary directory");
    create_source(source.path(), SOURCE);
    for (patterns, case) in with_case([fixed_lists(), random_lists(RANDOM_LISTS)].concat()) {
        let option = if case == Case::Sensitive { "--exclude" } else { "--iexclude" };
        let mut command = repository.command(source.path());
        command.args(["backup", "--dry-run", "--json", "-vv", "--no-scan", "."]);
        command.args(patterns.iter().map(|pattern| argument(option, pattern)));
        let expected = items(&mut command, &["new"]);

        let excludes = ExcludeOptions { patterns: options(&patterns, case), ..ExcludeOptions::default() };
        let kept = kept_of_everything(source.path(), excludes);
        assert_eq!(kept, expected, "{option} {:?}", readable(&patterns));
    }
}

fn kept_of_everything(root: &Path, excludes: ExcludeOptions) -> Paths {
    let exclusion = Exclusion::parse(excludes).expect("valid options");
    let mut names = |_: &[u8]| Ok(list(root).into_iter().map(|(name, _)| name).collect());
    let tree = TargetTree::build(&[b".".to_vec()], &mut names).expect("a tree");
    let mut kept = Paths::new();
    let mut keep = |place: &[u8], _: &Path| assert!(kept.insert(printed(place)));
    Scan { exclusion: &exclusion, working_directory: root, keep: &mut keep }.children(b"", &tree.children);
    kept
}

fn readable(patterns: &Patterns) -> Vec<String> {
    patterns.iter().map(|pattern| pattern.escape_ascii().to_string()).collect()
}

#[test]
fn a_restore_selects_what_restic_selects() {
    let repository = Repository::create();
    let source = tempfile::tempdir().expect("a temporary directory");
    create_source(source.path(), SOURCE);
    run(repository.command(source.path()).args(["backup", "-q", "."]));
    let lists = [fixed_lists(), random_lists(2 * RANDOM_LISTS).split_off(RANDOM_LISTS)].concat();
    for (position, (patterns, case)) in with_case(lists).enumerate() {
        let is_include = position % 4 < 2;
        let option = match (is_include, case) {
            (true, Case::Sensitive) => "--include",
            (true, Case::Insensitive) => "--iinclude",
            (false, Case::Sensitive) => "--exclude",
            (false, Case::Insensitive) => "--iexclude",
        };
        let mut command = repository.command(source.path());
        command.args(["restore", "latest", "--no-lock", "--dry-run", "--json", "-vv", "--target=/nowhere"]);
        command.args(patterns.iter().map(|pattern| argument(option, pattern)));
        let expected = items(&mut command, &["restored"]);

        let (given, none) = (options(&patterns, case), PatternOptions::default());
        let (includes, excludes) = if is_include { (&given, &none) } else { (&none, &given) };
        let select = RestoreSelect::parse(includes, excludes).expect("valid patterns");
        let mut restored = Paths::new();
        restore(&select, source.path(), b"", &mut restored);
        assert_eq!(restored, expected, "{option} {:?}", readable(&patterns));
    }
}

/// Restores a directory; says whether anything below it was.
fn restore(select: &RestoreSelect, directory: &Path, place: &[u8], restored: &mut Paths) -> bool {
    let before = restored.len();
    for (name, is_directory) in list(directory) {
        let place = [place, b"/", &name].concat();
        let selected = select.select(&place, is_directory);
        let child_restored =
            selected.children && restore(select, &directory.join(OsStr::from_bytes(&name)), &place, restored);
        if selected.entry || child_restored {
            restored.insert(printed(&place));
        }
    }
    restored.len() > before
}

#[test]
fn find_finds_what_restic_finds() {
    let repository = Repository::create();
    let source = tempfile::tempdir().expect("a temporary directory");
    create_source(source.path(), SOURCE);
    run(repository.command(source.path()).args(["backup", "-q", "."]));
    let lists = [fixed_lists(), random_lists(3 * RANDOM_LISTS).split_off(2 * RANDOM_LISTS)].concat();
    for (patterns, case) in with_case(lists) {
        let mut command = repository.command(source.path());
        command.args(["find", "--no-lock", "--json"]);
        command.args((case == Case::Insensitive).then_some("--ignore-case")).arg("--");
        command.args(patterns.iter().map(|pattern| OsStr::from_bytes(pattern)));
        let output = run(&mut command);
        let answers: Vec<_> = messages(&output.stdout).collect();
        let matches = answers[0][0]["matches"].as_array().map(Vec::as_slice).unwrap_or_default();
        let expected: Paths =
            matches.iter().map(|found| found["path"].as_str().expect("a path").to_owned()).collect();

        let find = FindPatterns::parse(&patterns, case).expect("valid patterns");
        let mut found = Paths::new();
        search(&find, source.path(), b"", &mut found);
        assert_eq!(found, expected, "find {case:?} {:?}", readable(&patterns));
    }
}

fn search(find: &FindPatterns, directory: &Path, place: &[u8], found: &mut Paths) {
    for (name, is_directory) in list(directory) {
        let place = [place, b"/", &name].concat();
        if find.matches(&place) {
            found.insert(printed(&place));
        }
        if is_directory && find.may_match_below(&place) {
            search(find, &directory.join(OsStr::from_bytes(&name)), &place, found);
        }
    }
}

#[test]
fn what_restic_refuses_is_refused() {
    let patterns =
        ["[", "a[", "x/[]a]/y", "[-]", "[a-]", "[-a]", "[a-b-c]", "[^", "*[", "\\", "b/a\\", "ok", "[\\"];
    let repository = Repository::create();
    let mut command = repository.command(Path::new("/"));
    let output = command
        .args(["backup", "--dry-run", "."])
        .args(patterns.map(|pattern| argument("--exclude", pattern.as_bytes())))
        .output()
        .expect("restic starts");
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    let (_, refused) = message.trim_end().split_once("provided:\n").expect("restic refuses them");

    let error = PatternList::parse("--exclude", &patterns, Case::Sensitive).expect_err("refused");
    let expected: Vec<_> = refused.lines().map(|pattern| format!("{pattern:?}")).collect();
    assert_eq!(error.patterns, expected);
}

#[test]
fn exclude_files_markers_and_sizes_leave_out_what_they_leave_out_in_restic() {
    let source = tempfile::tempdir().expect("a temporary directory");
    create_source(source.path(), SOURCE);
    create_source(
        source.path(),
        &[
            b"m1/.nobackup",
            b"m1/.tag",
            b"m1/x/y",
            b"m2/.tag",
            b"m2/x",
            b"m3/CACHEDIR.TAG",
            b"m3/x/y",
            b"m4/x",
        ],
    );
    let write = |path: &str, text: &[u8]| std::fs::write(source.path().join(path), text).expect("write");
    write("m1/.tag", b"yes");
    write("m2/.tag", b"ye");
    write("m3/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n# more\n");
    create_source(source.path(), &[b"m4/.nobackup/x", b"m4/y", b"m5/CACHEDIR.TAG", b"m5/x"]);
    write("m5/x", &[0; 1025]);
    write("e/!a", &[0; 1024]);
    let lists = tempfile::tempdir().expect("a temporary directory");
    let (sensitive, insensitive) = (lists.path().join("e"), lists.path().join("ie"));
    let sensitive_text = b"\xef\xbb\xbf# no\n\n  $NAME.txt  \r\n!${NAME}.txtx\n$$\n#c\n\\#c\n$UNSET/d/e\n";
    std::fs::write(&sensitive, sensitive_text).expect("write");
    let insensitive_text: Vec<u8> = "\u{feff}Ä.TXT\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&insensitive, &insensitive_text).expect("write");

    let repository = Repository::create();
    let mut command = repository.command(source.path());
    command
        .env("NAME", "b")
        .args(["backup", ".", "--dry-run", "--json", "-vv", "--no-scan", "--exclude-caches"])
        .args(["--exclude-if-present=.nobackup", "--exclude-if-present=.tag:yes"])
        .args(["--exclude-larger-than=1k", "--exclude=/nowhere"])
        .arg(argument("--exclude-file", sensitive.as_os_str().as_bytes()))
        .arg(argument("--iexclude-file", insensitive.as_os_str().as_bytes()));
    let expected = items(&mut command, &["new"]);

    let lookup = |name: &[u8]| (name == b"NAME").then(|| b"b".to_vec());
    let excludes = ExcludeOptions {
        patterns: PatternOptions {
            patterns: vec![b"/nowhere".to_vec()],
            file_patterns: text::patterns(sensitive_text, &lookup),
            insensitive_file_patterns: text::patterns(&insensitive_text, &lookup),
            ..PatternOptions::default()
        },
        if_present: vec![b".nobackup".to_vec(), b".tag:yes".to_vec()],
        caches: true,
        larger_than: Some("1k".into()),
        ..ExcludeOptions::default()
    };
    assert_eq!(kept_of_everything(source.path(), excludes), expected);
    for (path, is_kept) in [
        ("/m1", true),
        ("/m1/.nobackup", false),
        ("/m2/x", true),
        ("/m3/CACHEDIR.TAG", true),
        ("/m3/x", false),
        ("/m4/.nobackup/x", true),
        ("/m4/y", false),
        ("/m5/x", false),
        ("/e/!a", true),
    ] {
        assert_eq!(expected.contains(path), is_kept, "{path}");
    }
}
