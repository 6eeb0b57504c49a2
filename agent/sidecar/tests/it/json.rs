//! The JSON of every command, beside restic's: the same fields of the same types, and where nothing depends on who did the
//! work, the same values.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::scene::Scene;

/// Two snapshots that differ in everything a comparison tells of.
fn scene_with_history() -> Scene {
    let scene = Scene::new();
    scene.back_up();
    std::fs::write(scene.source().join("a.txt"), "changed\n").unwrap();
    std::fs::remove_file(scene.source().join("link")).unwrap();
    std::fs::create_dir(scene.source().join("new")).unwrap();
    std::fs::write(scene.source().join("new/file"), "new").unwrap();
    std::fs::remove_file(scene.source().join("sub/deep/empty")).unwrap();
    std::fs::create_dir(scene.source().join("sub/deep/empty")).unwrap();
    scene.ok(&["backup", "--tag", "x,y", "--host", "other", scene.source().to_str().unwrap()]);
    scene
}

fn values(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn what_is_listed_is_listed_as_by_restic() {
    let scene = scene_with_history();
    let ids = scene.snapshots();
    let (first, second) = (ids[0].as_str(), ids[1].as_str());
    let source = scene.source();
    let source = source.to_str().unwrap();
    let sub = format!("{source}/sub");
    for arguments in [
        &["snapshots"][..],
        &["snapshots", "latest"],
        &["snapshots", "--latest", "1"],
        &["snapshots", "--tag", "x"],
        &["snapshots", "--host", "nobody"],
        &["ls", "latest"],
        &["ls", "latest", &sub],
        &["ls", "latest", "--recursive", source],
        &["ls", &format!("{first}:{source}")],
        &["ls", "latest", "--sort", "size"],
        &["ls", "latest", "--sort", "time", "--reverse"],
        &["ls", "latest", "--sort", "extension", "--recursive", source],
        &["ls", "latest", "--reverse", &sub],
        &["find", "*.txt"],
        &["find", "--oldest", "2001-01-01", "--path", source, "*.txt"],
        &["find", "--snapshot", first, "sub", "numb*"],
        &["find", "--reverse", "--ignore-case", "A.TXT"],
        &["find", "nothing-has-this-name"],
        &["find", "--newest", "2001-01-01", "*"],
        &["diff", first, second],
        &["diff", "--metadata", first, second],
        &["diff", &format!("{second}:{sub}"), &format!("{first}:{sub}")],
        &["stats"],
        &["stats", "--mode", "files-by-contents"],
        &["stats", "--mode", "blobs-per-file"],
        &["stats", "--mode", "raw-data"],
        &["stats", "--mode", "raw-data", "latest"],
        &["check", "--read-data"],
    ] {
        let arguments = [arguments, &["--json"]].concat();
        assert_eq!(values(&scene.ok(&arguments)), values(&scene.restic(&arguments)), "{arguments:?}");
    }
}

/// The IDs behind a word in restic's list: `data`, `tree`; or all of a list of IDs.
fn ids(listed: &str, word: &str) -> Vec<String> {
    listed.lines().filter_map(|line| line.strip_prefix(word)).map(|id| id.trim().to_owned()).collect()
}

#[test]
fn objects_are_found_where_restic_finds_them() {
    let scene = scene_with_history();
    let blobs = scene.restic(&["list", "blobs"]);
    let (data, trees, packs) =
        (ids(&blobs, "data"), ids(&blobs, "tree"), ids(&scene.restic(&["list", "packs"]), ""));
    let no_blob = ("--blob", &trees[0][..]);
    let mut found = 0;
    for (kind, id) in [
        ("--blob", &data[0][..]),
        ("--blob", &data[1][..8]),
        ("--tree", &trees[0]),
        ("--tree", &trees[trees.len() - 1][..8]),
        ("--pack", &packs[0]),
        ("--pack", &packs[1][..8]),
        no_blob,
    ] {
        let arguments = ["find", "--json", kind, id];
        let (ours, theirs) = (values(&scene.ok(&arguments)), values(&scene.restic(&arguments)));
        assert_eq!(ours, theirs, "{arguments:?}");
        found += ours[0].as_array().unwrap().len();
        // restic looks for no pack of a tree that is named by a beginning, and swaps two words where there is none.
        if kind != "--pack" && id.len() == 64 && (kind, id) != no_blob {
            let arguments = ["find", "--show-pack-id", "--reverse", kind, id];
            assert_eq!(scene.ok(&arguments), scene.restic(&arguments), "{arguments:?}");
        }
    }
    assert!(found > 10, "{found} places were compared");
    let nowhere = "0".repeat(64);
    assert_eq!(scene.ok(&["find", "--blob", &nowhere]), "");
    scene.fails(1, &["find", "--pack", &nowhere]);
    scene.fails(1, &["find", "--blob", "no-id"]);
}

#[test]
fn groups_of_snapshots_are_restics() {
    let scene = scene_with_history();
    for by in ["host", "paths", "tags", "host,paths,tags"] {
        let arguments = ["snapshots", "--json", "--group-by", by];
        // restic prints the groups in no order.
        let groups = |text: &str| {
            let mut groups = values(text)[0].as_array().unwrap().clone();
            groups.sort_by_key(|group| group["group_key"].to_string());
            groups
        };
        assert_eq!(groups(&scene.ok(&arguments)), groups(&scene.restic(&arguments)), "{by}");
    }
}

#[test]
fn what_is_listed_for_people_is_listed_as_by_restic() {
    let scene = scene_with_history();
    let ids = scene.snapshots();
    let (first, second) = (ids[0].as_str(), ids[1].as_str());
    let source = scene.source();
    let source = source.to_str().unwrap();
    let sub = format!("{source}/sub");
    for arguments in [
        &["snapshots"][..],
        &["snapshots", "--compact"],
        &["snapshots", "--group-by", "host"],
        &["find", "-l", "*.txt"],
        &["find", "-l", "--human-readable", "--reverse", "numbers"],
        &["ls", "latest", "--ncdu"],
        &["ls", "latest", "--ncdu", &sub],
        &["ls", "latest", "--ncdu", "--recursive", source],
        &["diff", first, second],
    ] {
        let (mut ours, mut theirs) = (scene.ok(arguments), scene.restic(arguments));
        if arguments.contains(&"--group-by") {
            let sorted = |text: String| {
                let mut groups: Vec<&str> = text.split("snapshots for").collect();
                groups.sort_unstable();
                groups.concat()
            };
            (ours, theirs) = (sorted(ours), sorted(theirs));
        }
        assert_eq!(ours, theirs, "{arguments:?}");
    }
    // The time in the first line is Go's own form.
    let entries = |text: String| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    for arguments in [
        &["ls", "latest"][..],
        &["ls", "-l", first],
        &["ls", "-l", "--human-readable", "--sort", "size", first],
        &["ls", "-s", "mtime", first, &sub],
    ] {
        assert_eq!(entries(scene.ok(arguments)), entries(scene.restic(arguments)), "{arguments:?}");
    }
}

/// The fields of a message, with what kind of value each is.
fn form(message: &Value) -> BTreeMap<String, &'static str> {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    message.as_object().unwrap().iter().map(|(name, value)| (name.clone(), kind(value))).collect()
}

fn last_of(text: &str, message_type: &str) -> Value {
    let found = values(text).into_iter().rfind(|message| message["message_type"] == message_type);
    found.unwrap_or_else(|| panic!("no {message_type} in {text}"))
}

#[test]
fn a_restore_tells_its_progress_in_restics_words() {
    let scene = Scene::new();
    scene.back_up();
    let target = scene.path("restored");
    let restore = ["restore", "latest", "--json", "--target", target.to_str().unwrap()];
    // Twice: then there is something to skip, and with --delete something to delete.
    scene.ok(&restore);
    std::fs::remove_dir_all(target.join(scene.source().strip_prefix("/").unwrap().join("sub"))).unwrap();
    std::fs::write(target.join("superfluous"), "").unwrap();
    let mut command = scene.command([&restore[..], &["--delete"]].concat());
    let printed: crate::scene::Printed = command.env("RESTIC_PROGRESS_FPS", "60").output().unwrap().into();
    let summary = last_of(&printed.out, "summary");
    assert_eq!((&summary["files_deleted"], &summary["files_skipped"]), (&1.into(), &1.into()), "{summary}");
    const FIELDS: [&str; 10] = [
        "message_type",
        "seconds_elapsed",
        "percent_done",
        "total_files",
        "files_restored",
        "files_skipped",
        "files_deleted",
        "total_bytes",
        "bytes_restored",
        "bytes_skipped",
    ];
    for message in values(&printed.out) {
        assert!(message.as_object().unwrap().keys().all(|name| FIELDS.contains(&name.as_str())), "{message}");
    }
}

#[test]
fn jobs_end_with_restics_messages() {
    let scene = Scene::new();
    let source = scene.source();
    let source = source.to_str().unwrap();
    let first = scene.ok(&["backup", "--json", source]);
    for arguments in [&["backup", "--json", source][..], &["backup", "--json", "--dry-run", source]] {
        let (ours, theirs) = (scene.ok(arguments), scene.restic(arguments));
        assert_eq!(form(&last_of(&ours, "summary")), form(&last_of(&theirs, "summary")), "{arguments:?}");
    }
    let summary = last_of(&first, "summary");
    assert_eq!((&summary["files_new"], &summary["total_files_processed"]), (&4.into(), &4.into()));
    for (ours, target) in [(true, "ours"), (false, "theirs")] {
        let target = scene.path(target);
        let arguments = ["restore", "latest", "--json", "--target", target.to_str().unwrap()];
        let said = if ours { scene.ok(&arguments) } else { scene.restic(&arguments) };
        let mut summary = last_of(&said, "summary");
        // How long it took.
        summary.as_object_mut().unwrap().remove("seconds_elapsed");
        let components = source.split('/').filter(|name| !name.is_empty()).count() as u64;
        assert_eq!(summary["total_files"], Value::from(7 + components), "{summary}");
        assert_eq!(summary["files_restored"], summary["total_files"]);
        assert_eq!(form(&summary).keys().collect::<Vec<_>>().len(), 5, "{summary}");
    }
    let target = scene.path("new");
    let (ours, theirs) = (scene.path("by-us"), scene.path("by-restic"));
    let init = |at: &std::path::Path| ["init", "--json", "--repo", at.to_str().unwrap()].map(str::to_owned);
    let said = scene.ok(&init(&ours).each_ref().map(String::as_str));
    let restic = scene.restic(&init(&theirs).each_ref().map(String::as_str));
    assert_eq!(form(&last_of(&said, "initialized")), form(&last_of(&restic, "initialized")));
    let failed = scene.run(&["snapshots", "--json", "--repo", target.to_str().unwrap()]);
    let message = last_of(&failed.err, "exit_error");
    assert_eq!((failed.code, &message["code"]), (10, &10.into()));
    assert_eq!(failed.out, "");
}
