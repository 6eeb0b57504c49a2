//! What is read: targets from lists, streams, what is left out; and what comes out again as a stream.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::scene::{Printed, Scene, check_failure, program};

fn listed(scene: &Scene) -> Vec<String> {
    let text = scene.ok(&["ls", "--quiet", "latest"]);
    text.lines().map(str::to_owned).collect()
}

fn with_input(scene: &Scene, arguments: &[&str], input: &[u8]) -> Printed {
    let mut child = scene
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments reads nothing.
    let _written = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().into()
}

#[test]
fn standard_input_becomes_a_file() {
    let scene = Scene::new();
    let done =
        with_input(&scene, &["backup", "--stdin", "--stdin-filename", "dumps/db.sql"], b"create table");
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{}", done.out);
    assert_eq!(listed(&scene), ["/dumps", "/dumps/db.sql"]);
    assert_eq!(scene.ok(&["dump", "latest", "dumps/db.sql"]), "create table");
    assert_eq!(scene.restic(&["dump", "latest", "/dumps/db.sql"]), "create table");
    // What a dump that dies before its first byte leaves.
    let empty = with_input(&scene, &["backup", "--stdin"], b"");
    check_failure(&empty, 1, "an empty stream");
    assert!(empty.err.contains("empty stream") && scene.snapshots().len() == 1, "{}", empty.err);
    let mut asks = scene.command(["backup", "--stdin"]);
    let asks: Printed = asks.env_remove("RESTIC_PASSWORD").stdin(Stdio::null()).output().unwrap().into();
    check_failure(&asks, 1, "both from standard input");
}

#[test]
fn a_command_that_fails_stores_nothing_and_its_words_are_heard() {
    let scene = Scene::new();
    let arguments = ["backup", "--stdin-filename", "out", "--stdin-from-command", "--", "sh", "-c"];
    let run = |script: &str| scene.run(&[&arguments[..], &[script]].concat());
    let failed = run("echo half; echo sorry >&2; exit 3");
    assert!(failed.err.starts_with("sorry\n"), "{}", failed.err);
    check_failure(&failed, 1, "exit 3");
    check_failure(&run("echo half; kill -9 $$"), 1, "killed");
    check_failure(&run("true"), 1, "nothing");
    check_failure(&scene.run(&["backup", "--stdin-from-command", "no-such-program"]), 1, "missing");
    assert_eq!(scene.snapshots(), Vec::<String>::new());
    assert_eq!(run("echo whole").code, 0);
    assert_eq!(scene.ok(&["dump", "latest", "/out"]), "whole\n");
}

#[test]
fn an_interrupted_stream_ends_with_130_and_its_command_ends_too() {
    let scene = Scene::new();
    let script = "trap ': > stopped; exit 0' TERM; echo half; echo begun >&2; while :; do sleep 0.1; done";
    let mut child = scene
        .command(["backup", "--stdin-from-command", "--", "sh", "-c", script])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "begun\n");
    signal(child.id(), "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(scene.path("stopped").exists(), "the command was told to end, and waited for");
    assert_eq!(scene.snapshots(), Vec::<String>::new());
    assert!(scene.files("locks").is_empty());
}

#[test]
fn the_allocator_is_told_to_give_back_memory_unless_the_user_told_it_something_and_commands_are_not() {
    let scene = Scene::new();
    let script =
        r#"tr '\0' '\n' < /proc/$PPID/environ | grep GLIBC_TUNABLES; echo "${GLIBC_TUNABLES-unset}""#;
    let arguments = ["backup", "--stdin-filename", "out", "--stdin-from-command", "--", "sh", "-c", script];
    let stored = |command: &mut Command| {
        assert!(command.output().unwrap().status.success());
        scene.ok(&["dump", "latest", "/out"])
    };
    let ours = "GLIBC_TUNABLES=glibc.malloc.arena_max=1\nunset\n";
    assert_eq!(stored(&mut scene.command(arguments)), ours);
    let user_s = stored(scene.command(arguments).env("GLIBC_TUNABLES", "glibc.malloc.check=0"));
    assert_eq!(user_s, "GLIBC_TUNABLES=glibc.malloc.check=0\nglibc.malloc.check=0\n");
}

#[test]
fn the_program_starts_itself_again_once_at_most_and_never_its_loader() {
    let scene = Scene::new();
    // As it is where glibc has taken its own variable away, which it does in a program with file capabilities.
    let script = r#"tr '\0' '\n' < /proc/$PPID/environ | grep -c GLIBC_TUNABLES; env | grep -c _PILLION"#;
    let arguments = ["backup", "--stdin-filename", "out", "--stdin-from-command", "--", "sh", "-c"];
    let script = format!("{script}; true");
    let mut second = scene.command([&arguments[..], &[&script]].concat());
    assert!(second.env("_PILLION_STARTED_AGAIN", "1").output().unwrap().status.success());
    assert_eq!(scene.ok(&["dump", "latest", "/out"]), "0\n0\n");

    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let is_loader = |path: &&str| path.rsplit('/').next().is_some_and(|name| name.starts_with("ld-"));
    let loader = mapped.clone().find(is_loader).expect("a dynamic program is loaded by somebody");
    let shown = Command::new(loader).arg(program()).arg("version").env_clear().output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.starts_with("pillion "), "{shown}");
}

pub(crate) fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn lists_name_targets_as_restics_do() {
    let scene = Scene::new();
    let source = scene.source();
    let source = source.to_str().unwrap();
    let list = |name: &str, content: String| {
        std::fs::write(scene.path(name), content).unwrap();
        scene.path(name).to_str().unwrap().to_owned()
    };
    let patterns = list("patterns", format!("# what is text\n\n  {source}/*.txt \n{source}/none*\n"));
    let verbatim = list("verbatim", format!("{source}/link\n"));
    let raw = list("raw", format!("{source}/sub/deep\0"));
    let arguments = ["--files-from", &patterns, "--files-from-verbatim", &verbatim, "--files-from-raw", &raw];
    let done = scene.run(&[&["backup"], &arguments[..]].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("does not match any files, skipping"), "{}", done.err);
    scene.restic(&[&["backup"], &arguments[..]].concat());
    let ids = scene.snapshots();
    let difference = scene.ok(&["diff", "--quiet", &ids[0], &ids[1]]);
    assert!(difference.contains("Files:           0 new,     0 removed,     0 changed"), "{difference}");
    assert!(scene.ok(&["snapshots", "--compact"]).contains("2 snapshots"));
    let broken = list("broken", format!("{source}/a.txt"));
    assert!(scene.fails(1, &["backup", "--files-from-raw", &broken]).contains("trailing zero byte missing"));
    scene.fails(1, &["backup", "--files-from", "no-such-list"]);
    scene.fails(1, &["backup"]);
}

#[test]
fn what_is_excluded_is_what_restic_excludes() {
    let scene = Scene::new();
    let source = scene.source();
    std::fs::create_dir(source.join("cache")).unwrap();
    std::fs::write(source.join("cache/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55").unwrap();
    std::fs::write(source.join("cache/x"), "x").unwrap();
    std::fs::create_dir(source.join("marked")).unwrap();
    std::fs::write(source.join("marked/.no"), "").unwrap();
    std::fs::write(source.join("marked/x"), "x").unwrap();
    std::fs::create_dir_all(source.join("clone/.git")).unwrap();
    std::fs::write(source.join("clone/.git/config"), "").unwrap();
    std::fs::write(source.join("BIG.TMP"), "x").unwrap();
    std::fs::write(scene.path("patterns"), "# none of these\n$WHAT\n").unwrap();
    let patterns = scene.path("patterns");
    let arguments = [
        "backup",
        "--exclude-caches",
        "--exclude-if-present",
        ".no",
        "--exclude-if-present",
        ".git/config",
        "--exclude-larger-than",
        "1M",
        "--iexclude",
        "*.tmp",
        "--exclude-file",
        patterns.to_str().unwrap(),
        "--exclude",
        "nothing",
        "--one-file-system",
        "source",
    ];
    let done = scene.command(arguments).env("WHAT", "link*").output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut theirs = scene.repository.command(&scene.path("."));
    theirs.env("WHAT", "link*").env("RESTIC_FEATURES", "device-id-for-hardlinks=true").args(arguments);
    crate::restic::run(&mut theirs);
    let ids = scene.snapshots();
    let compared: serde_json::Value =
        serde_json::from_str(scene.ok(&["diff", "--json", &ids[0], &ids[1]]).lines().last().unwrap())
            .unwrap();
    assert_eq!(compared["added"]["bytes"], 0, "{compared}");
    assert_eq!(compared["removed"]["bytes"], 0, "{compared}");
    let entries = listed(&scene);
    let has = |name: &str| entries.iter().any(|path| path.ends_with(name));
    assert!(has("/cache/CACHEDIR.TAG") && !has("/cache/x") && has("/marked/.no") && !has("/marked/x"));
    assert!(!has("BIG.TMP") && !has("/link") && !has("/sub/numbers") && has("/a.txt"), "{entries:?}");
    assert!(has("/clone") && !has("/clone/.git"), "{entries:?}");
    let snapshots: serde_json::Value = serde_json::from_str(&scene.ok(&["snapshots", "--json"])).unwrap();
    assert_eq!(snapshots[0]["excludes"], snapshots[1]["excludes"]);
}

#[test]
fn a_dry_run_stores_nothing_and_says_what_it_would() {
    let scene = Scene::new();
    let source = scene.source();
    let before = scene.files(".");
    let said = scene.ok(&["backup", "--dry-run", "-vv", source.to_str().unwrap()]);
    assert!(said.contains("Would add to the repository") && said.contains("new       "), "{said}");
    assert_eq!(scene.files("."), before);
    scene.back_up();
    let target = scene.path("target");
    let said = scene.ok(&["restore", "latest", "--dry-run", "-vv", "--target", target.to_str().unwrap()]);
    assert!(said.contains("restored") && !target.exists(), "{said}");
}

#[test]
fn an_unchanged_source_makes_no_snapshot_where_none_is_wanted() {
    let scene = Scene::new();
    // Of an absolute path the directories above are in the snapshot too, and other tests change the topmost.
    scene.ok(&["backup", "source"]);
    let said = scene.ok(&["backup", "--skip-if-unchanged", "source"]);
    assert!(said.contains("skipped creating snapshot"), "{said}");
    assert_eq!(scene.snapshots().len(), 1);
}

#[test]
fn the_own_cache_is_not_backed_up() {
    let scene = Scene::new();
    scene.ok(&[
        "backup",
        "--cache-dir",
        scene.source().join("own").to_str().unwrap(),
        scene.source().to_str().unwrap(),
    ]);
    assert!(listed(&scene).iter().all(|path| !path.contains("/own")));
    let temporary = scene.source().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let done = scene
        .command(["backup", "--no-cache", scene.source().to_str().unwrap()])
        .env("TMPDIR", &temporary)
        .output();
    assert_eq!(Printed::from(done.unwrap()).code, 0);
    assert!(listed(&scene).iter().all(|path| !path.contains("pillion-spool")));
    assert_eq!(std::fs::read_dir(temporary).unwrap().count(), 0, "the spool is gone");
}

#[test]
fn a_folder_comes_out_as_an_archive_that_tar_unpacks_to_the_same() {
    let scene = Scene::new();
    std::fs::write(scene.source().join("x".repeat(200)), "long name").unwrap();
    scene.back_up();
    let source = scene.source();
    let archive = scene.path("archive.tar");
    scene.ok(&["dump", "--target", archive.to_str().unwrap(), &format!("latest:{}", source.display()), "/"]);
    let target = scene.path("unpacked");
    std::fs::create_dir(&target).unwrap();
    for (program, arguments) in [
        (
            "tar",
            vec!["--extract", "--file", archive.to_str().unwrap(), "--directory", target.to_str().unwrap()],
        ),
        ("diff", vec!["--recursive", "--no-dereference", source.to_str().unwrap(), target.to_str().unwrap()]),
    ] {
        let done = Command::new(program).args(arguments).output().unwrap();
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stdout));
    }
    let whole = scene.command(["dump", "latest", "/"]).output().unwrap();
    assert!(whole.status.success() && whole.stdout.len() > 1 << 20);
    scene.fails(1, &["dump", "latest", "/nowhere"]);
    scene.fails(1, &["dump", "latest", &format!("{}/link", source.display())]);
}
