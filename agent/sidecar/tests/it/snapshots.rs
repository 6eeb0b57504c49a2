//! What snapshots hold, read over the agent's control listener: to the byte, of its own snapshots only, and beside its runs.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, settings, wait_until};
use crate::control::{Answer, CHANGE, Listening, ask};
use crate::restic;
use crate::scene::{Scene, program};

/// As a query's parameter takes it.
fn encoded(path: impl AsRef<OsStr>) -> String {
    path.as_ref().as_bytes().iter().map(|byte| format!("%{byte:02x}")).collect()
}

fn read(agent: &Listening, what: &str, path: impl AsRef<OsStr>, headers: &[&str]) -> Answer {
    agent.ours(&format!("GET /v1/snapshots/latest/{what}?path={}", encoded(path)), headers)
}

fn ids(answer: &Answer) -> Vec<String> {
    let listed = answer.json();
    listed.as_array().unwrap().iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

/// Stock restic on the agent's repository.
fn restic(scene: &Scene, arguments: &[&str]) {
    let mut command = scene.repository.command(&scene.path("."));
    restic::run(command.env("RESTIC_REPOSITORY", scene.path("agents")).args(arguments));
}

#[test]
fn a_folder_is_listed_and_its_files_are_read_to_the_byte() {
    let scene = Scene::new();
    for name in
        [&b"a b+c%2F&=?#"[..], b"line\nbreak\x1b[31m", b"\xff\xfe", "gr\u{fc}n".as_bytes(), b"\"quoted\""]
    {
        std::fs::write(scene.source().join(OsStr::from_bytes(name)), name).unwrap();
    }
    let agent = Listening::start_at(scene, "identity: shop/db");
    let source = agent.scene.source();
    let listed = read(&agent, "files", &source, &[]);
    assert!(listed.status == 200 && listed.is_whole, "{listed:?}");
    let folder = listed.json();
    assert_eq!(folder["snapshot"], ids(&agent.ours("GET /v1/snapshots", &[]))[0].as_str());
    let entries = folder["entries"].as_array().unwrap();
    assert_eq!(entries.len(), std::fs::read_dir(&source).unwrap().count());
    let mut files = 0;
    for entry in entries.iter().filter(|entry| entry["type"] == "file") {
        let path = entry["path"].as_str().unwrap();
        let answer = agent.ours(&format!("GET /v1/snapshots/latest/content?path={path}"), &[]);
        let decoded = path.split('%').enumerate().flat_map(|(position, part)| {
            let (byte, rest) = part.split_at(if position == 0 { 0 } else { 2 });
            let byte = u8::from_str_radix(byte, 16).into_iter();
            byte.chain(rest.bytes()).collect::<Vec<u8>>()
        });
        let path = decoded.collect::<Vec<u8>>();
        let expected = std::fs::read(Path::new(OsStr::from_bytes(&path))).unwrap();
        assert!(answer.is_whole && answer.bytes == expected, "{answer:?}");
        assert_eq!(entry["size"], expected.len());
        let name = answer.header("content-disposition").unwrap();
        assert!(name.starts_with("attachment; filename=\"") && name.is_ascii(), "{name}");
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
        files += 1;
    }
    assert_eq!(files, 6);
    let root = read(&agent, "files", "/", &[]).json();
    let first = root["entries"][0]["path"].as_str().unwrap();
    assert!(source.to_str().unwrap().starts_with(first), "{root}");
    let head = read(&agent, "content", source.join("a.txt"), &[]);
    let only =
        agent.ours(&format!("HEAD /v1/snapshots/latest/content?path={}", encoded(source.join("a.txt"))), &[]);
    assert_eq!(
        (only.status, only.header("content-length"), only.bytes.len()),
        (200, head.header("content-length"), 0)
    );
}

#[test]
fn a_part_of_a_file_is_read_where_one_is_asked_for() {
    let agent = Listening::start("");
    let numbers = agent.scene.source().join("sub/numbers");
    let content = std::fs::read(&numbers).unwrap();
    let size = content.len();
    let tag = read(&agent, "content", &numbers, &[]).header("etag").unwrap().to_owned();
    for (range, start, end) in [
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=1000000-1999999".to_owned(), 1_000_000, 2_000_000),
        (format!("bytes={}-", size - 7), size - 7, size),
        ("bytes=-5".to_owned(), size - 5, size),
        (format!("bytes=5-{}", usize::MAX), 5, size),
    ] {
        let range = format!("Range: {range}");
        for headers in [&[&range[..]][..], &[&range, &format!("If-Range: {tag}")]] {
            let part = read(&agent, "content", &numbers, headers);
            assert!(part.status == 206 && part.is_whole && part.bytes == content[start..end], "{range}");
            let told = format!("bytes {start}-{}/{size}", end - 1);
            assert_eq!(part.header("content-range"), Some(&told[..]));
        }
    }
    let changed = read(&agent, "content", &numbers, &["Range: bytes=0-0", "If-Range: \"other\""]);
    assert!(changed.status == 200 && changed.bytes == content);
    let behind = read(&agent, "content", &numbers, &[&format!("Range: bytes={size}-")]);
    assert_eq!(behind.problem(), (416, "out-of-range".to_owned()));
    assert_eq!(behind.header("content-range"), Some(&format!("bytes */{size}")[..]));
}

#[test]
fn a_folder_comes_as_an_archive_that_tar_unpacks() {
    let agent = Listening::start("");
    let source = agent.scene.source();
    for (path, name) in [(&*source, "source.tar"), (Path::new("/"), ".tar")] {
        let archive = read(&agent, "archive", path, &[]);
        assert!(
            archive.is_whole && archive.header("content-type") == Some("application/x-tar"),
            "{archive:?}"
        );
        assert!(archive.header("content-disposition").unwrap().contains(&format!("{name}\";")));
        let target = agent.scene.path("unpacked");
        std::fs::create_dir(&target).unwrap();
        let mut tar = Command::new("tar");
        let mut tar = tar.arg("--extract").current_dir(&target).stdin(Stdio::piped()).spawn().unwrap();
        tar.stdin.take().unwrap().write_all(&archive.bytes).unwrap();
        assert!(tar.wait().unwrap().success());
        let unpacked = target.join(source.strip_prefix("/").unwrap());
        let differs = Command::new("diff").arg("-r").args([&unpacked, &source]).output().unwrap();
        assert!(differs.status.success(), "{differs:?}");
        std::fs::remove_dir_all(&target).unwrap();
    }
    let file = read(&agent, "archive", source.join("a.txt"), &[]);
    assert_eq!(file.problem(), (404, "not-a-folder".to_owned()));
    assert_eq!(read(&agent, "content", &source, &[]).problem(), (404, "not-a-file".to_owned()));
    assert_eq!(read(&agent, "content", source.join("link"), &[]).problem(), (404, "not-a-file".to_owned()));
    assert_eq!(read(&agent, "files", source.join("none"), &[]).problem(), (404, "no-such-entry".to_owned()));
}

#[test]
fn a_snapshot_of_somebody_else_is_as_unknown_as_one_that_never_was() {
    for (more, others) in [
        ("identity: shop/db", &["--tag", "pillion=shop/db2"][..]),
        ("host: ours", &["--host", "theirs"]),
        ("host: ours", &["--host", "ours", "--tag", "pillion=shop/db"]),
        ("host: ours", &["--host", "ours", "--tag", "pillion-plan=ours:files"]),
        ("host: ours, plans: {files: {tags: t}}", &["--host", "ours", "--tag", "pillion-plan=ours:others"]),
    ] {
        let agent = Listening::start(more);
        let source = agent.scene.source();
        let own = ids(&agent.ours("GET /v1/snapshots", &[]));
        assert_eq!(own.len(), 1);
        restic(&agent.scene, &[&["backup", source.to_str().unwrap()], others].concat());
        let all = crate::agent::snapshots(&agent.scene);
        let theirs =
            all.iter().map(|snapshot| snapshot["id"].as_str().unwrap()).find(|id| *id != own[0]).unwrap();
        assert_eq!(ids(&agent.ours("GET /v1/snapshots", &[])), own);
        let never = "0".repeat(64);
        for below in ["", "/files?path=/", "/content?path=/", "/archive?path=/"] {
            let ask = |id: &str| agent.ours(&format!("GET /v1/snapshots/{id}{below}"), &[]);
            for name in [theirs, &theirs[..12]] {
                assert_eq!(ask(name).problem(), (404, "no-such-snapshot".to_owned()));
                assert_eq!(ask(name).body, ask(&never).body);
            }
            for name in [&own[0], &own[0][..12], "latest"] {
                assert!(!ask(name).body.contains("no-such-snapshot"), "{name}{below}");
            }
        }
        let latest = agent.ours("GET /v1/snapshots/latest", &[]).json();
        assert_eq!(
            (&latest["id"], &latest["paths"][0]),
            (&own[0][..].into(), &source.to_str().unwrap().into())
        );
    }
}

#[test]
fn odd_names_of_snapshots_and_paths_are_refused_and_nothing_is_told() {
    let agent = Listening::start("");
    let long = format!("latest/files?path=/{}", "a".repeat(5000));
    for (request, status, code) in [
        ("..", 404, "no-such-snapshot"),
        ("..%2f..%2fetc%2fpasswd", 404, "no-such-snapshot"),
        ("%00", 404, "no-such-snapshot"),
        ("%0d%0aSet-Cookie:%20x", 404, "no-such-snapshot"),
        ("%ff", 404, "no-such-snapshot"),
        ("zz", 404, "no-such-snapshot"),
        ("../config", 404, "no-such-path"),
        ("latest/../../config", 404, "no-such-path"),
        ("latest?path=/", 400, "bad-parameter"),
        ("latest/files", 400, "bad-parameter"),
        ("latest/files?path=etc", 400, "bad-parameter"),
        ("latest/files?path=/../etc", 400, "bad-parameter"),
        ("latest/content?path=/%2e%2e/etc/passwd", 400, "bad-parameter"),
        ("latest/archive?path=/a%2f..%2f..%2fetc", 400, "bad-parameter"),
        ("latest/content?path=/etc/passwd", 404, "no-such-entry"),
        ("latest/content?path=/%0aetc%1b", 404, "no-such-entry"),
        ("latest/content?path=/%00", 400, "bad-parameter"),
        ("latest/content?path=/%zz", 400, "bad-parameter"),
        ("latest/content?path=/a%", 400, "bad-parameter"),
        ("latest/content?path=/a&path=/b", 400, "bad-parameter"),
        (&long, 400, "bad-parameter"),
    ] {
        let answer = agent.ours(&format!("GET /v1/snapshots/{request}"), &[]);
        assert_eq!(answer.problem(), (status, code.to_owned()), "{request}");
        assert!(answer.header("set-cookie").is_none() && !answer.body.contains("root:"), "{answer:?}");
    }
    // Whatever spelling leads there needs a token, or leads nowhere.
    for path in [
        "/v1/snapshots",
        "/v1/snapshots/latest",
        "/v1/%73napshots",
        "//v1/snapshots",
        "/v1/./snapshots",
        "/v1//snapshots",
    ] {
        let (status, code) = agent.loopback(&format!("GET {path}"), &[]).problem();
        assert!(
            matches!((status, &code[..]), (403, "no-token-set") | (404, "no-such-path")),
            "{path}: {code}"
        );
    }
}

#[test]
fn what_snapshots_hold_needs_a_token_on_the_loopback_address() {
    let scene = Scene::new();
    let token = scene.path("token");
    std::fs::write(&token, "hunter2-token\n").unwrap();
    let agent = Listening::start_at(scene, &format!("controlTokenFile: '{}'", token.display()));
    let path = encoded(agent.scene.source().join("a.txt"));
    for request in [
        "",
        "/latest",
        "/latest/files?path=/",
        &format!("/latest/content?path={path}"),
        "/latest/archive?path=/",
    ] {
        let request = format!("GET /v1/snapshots{request}");
        assert_eq!(agent.loopback(&request, &[]).problem(), (401, "token-missing".to_owned()));
        let wrong = agent.loopback(&request, &["Authorization: Bearer hunter2-tokens"]);
        assert_eq!(wrong.problem(), (401, "token-wrong".to_owned()));
        let right = agent.loopback(&request, &["Authorization: Bearer hunter2-token"]);
        assert!(right.status == 200 && right.is_whole, "{request}: {right:?}");
        assert_eq!(right.bytes.len(), agent.ours(&request, &[]).bytes.len());
    }
}

/// Asks for a file and takes the head of the answer and no more.
fn sleepy(agent: &Listening) -> UnixStream {
    let mut stream = UnixStream::connect(&agent.socket).unwrap();
    let path = encoded(agent.scene.source().join("sub/numbers"));
    write!(stream, "GET /v1/snapshots/latest/content?path={path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    stream
}

#[test]
fn readings_are_few_and_end_with_who_asked() {
    let agent = Listening::start("");
    let (first, second) = (sleepy(&agent), sleepy(&agent));
    let busy = agent.ours("GET /v1/snapshots", &[]);
    assert_eq!(busy.problem(), (503, "busy".to_owned()));
    assert!(busy.header("retry-after").is_some());
    assert_eq!(agent.ours("GET /v1/status", &[]).status, 200);
    drop(first);
    wait_until(|| agent.ours("GET /v1/snapshots", &[]).status == 200);
    drop(second);
    let numbers = agent.scene.source().join("sub/numbers");
    wait_until(|| read(&agent, "content", &numbers, &[]).is_whole);
    // Their locks went with them.
    restic(&agent.scene, &["check"]);
    let locks = agent.scene.path("agents/locks");
    wait_until(|| std::fs::read_dir(&locks).unwrap().count() == 0);
    let _third = sleepy(&agent);
    assert_eq!(agent.agent.end(), Some(0), "who sleeps does not keep the agent");
    assert_eq!(std::fs::read_dir(&locks).unwrap().count(), 0);
}

#[test]
fn snapshots_are_read_while_a_run_is_under_way() {
    let agent = Listening::start("");
    assert_eq!(agent.agent.end(), Some(0));
    let hooks = "hooks: {preBackup: {exec: {command: [freeze]}, containerName: db}}";
    let config = settings(&agent.scene, hooks);
    let mut again = Agent::start(&agent.scene, &["--config", &config]);
    again.wait_for("listening");
    let ours =
        |request: &str, headers: &[&str]| ask(UnixStream::connect(&agent.socket).unwrap(), request, headers);
    ours("POST /v1/backups", &[CHANGE]);
    let asked: Value = ours("GET /v1/exec?wait=60s", &[]).json();
    assert!(asked[0]["id"].is_string(), "the run has its lock and its lists: {asked}");
    let numbers = agent.scene.source().join("sub/numbers");
    let answer = ours(&format!("GET /v1/snapshots/latest/content?path={}", encoded(&numbers)), &[]);
    assert!(answer.is_whole && answer.bytes == std::fs::read(&numbers).unwrap(), "{}", answer.status);
    assert_eq!(ours("GET /v1/status", &[]).json()["running"]["state"], "running");
}

/// What a process has in memory that is no file's.
fn anonymous_kib(agent: &Listening) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.agent.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What nothing can make smaller, in chunks up to the largest.
fn random_file(path: &Path, seed: u64) {
    let mut bytes = vec![0; 96 << 20];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_run_with_two_readings_beside_it_stays_within_64_mebibytes() {
    let scene = Scene::new();
    random_file(&scene.source().join("first"), 1);
    let agent = Listening::start_at(scene, "");
    let source = agent.scene.source();
    random_file(&source.join("second"), 2);
    let (ended, socket) = (AtomicBool::new(false), &agent.socket);
    let ours = |request: &str, headers: &[&str]| ask(UnixStream::connect(socket).unwrap(), request, headers);
    let (whole, peak_kib) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let run = ours("POST /v1/backups?wait=true", &[CHANGE]).json();
            ended.store(true, Ordering::Relaxed);
            assert_eq!(run["outcome"], "Complete");
        });
        let again = |what: &str, path: &Path| {
            let request = format!("GET /v1/snapshots/latest/{what}?path={}", encoded(path));
            let (ours, ended) = (&ours, &ended);
            scope.spawn(move || {
                let mut whole = 0;
                while !ended.load(Ordering::Relaxed) {
                    let answer = ours(&request, &[]);
                    whole += u32::from(answer.status == 200 && answer.is_whole);
                }
                whole
            })
        };
        let readers = [again("content", &source.join("first")), again("archive", Path::new("/"))];
        let mut peak_kib = 0;
        while !ended.load(Ordering::Relaxed) {
            peak_kib = peak_kib.max(anonymous_kib(&agent));
            std::thread::sleep(Duration::from_millis(5));
        }
        (readers.map(|reader| reader.join().unwrap()), peak_kib)
    });
    assert!(whole.iter().all(|whole| *whole > 0), "{whole:?}");
    assert!(peak_kib < 64 << 10, "{peak_kib} KiB");
}

#[test]
fn what_keeps_a_snapshot_from_being_read_has_a_code() {
    let agent = Listening::start("credentialsDir: /nowhere");
    restic(&agent.scene, &["unlock"]);
    let lock = "GET /v1/snapshots/latest/archive?path=/";
    let numbers = agent.scene.source().join("sub/numbers");
    // Nothing that is kept of a job helps where the store has lost what is asked for.
    for pack in pillion_packs(&agent.scene) {
        std::fs::write(pack, "damaged").unwrap();
    }
    assert_eq!(read(&agent, "content", &numbers, &[]).problem(), (502, "unreadable".to_owned()));
    let broken = agent.ours(lock, &[]);
    assert!(broken.status == 502 || !broken.is_whole, "half an archive is no archive: {}", broken.status);
    let repository = agent.scene.path("agents");
    std::fs::rename(&repository, agent.scene.path("elsewhere")).unwrap();
    assert_eq!(agent.ours("GET /v1/snapshots", &[]).problem(), (503, "no-repository".to_owned()));
    assert_eq!(agent.agent.end(), Some(0));

    let config = settings(&agent.scene, "");
    let mut command = Agent::command(&agent.scene, &["--config", &config]);
    command.env_remove("RESTIC_PASSWORD");
    let mut without = Agent::spawn(&mut command);
    without.wait_for("listening");
    let answer = ask(UnixStream::connect(&agent.socket).unwrap(), "GET /v1/snapshots", &[]);
    assert_eq!(answer.problem(), (503, "no-credentials".to_owned()));
}

fn pillion_packs(scene: &Scene) -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir(scene.path("agents/data")).unwrap();
    let packs = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    packs.map(|pack| pack.unwrap().path()).collect()
}

#[test]
fn rights_to_read_suffice_for_reading() {
    let agent = Listening::start("");
    let numbers = agent.scene.source().join("sub/numbers");
    let path = encoded(&numbers);
    assert_eq!(agent.agent.end(), Some(0));
    let config = settings(&agent.scene, "");
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    let mut command = Agent::command(&agent.scene, &[]);
    let variables: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    command = Command::new("unshare");
    command.env_clear().envs(variables).args(["--mount", "--propagation", "private"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["sh", "-c", script]).arg(agent.scene.path("agents")).arg(program());
    let mut reading = Agent::spawn(command.args(["agent", "--config", &config]).stdout(Stdio::null()));
    reading.wait_for("listening");
    let ours = |request: &str| ask(UnixStream::connect(&agent.socket).unwrap(), request, &[]);
    wait_until(|| !ours("GET /v1/status").json()["newestSnapshotAt"].is_null());
    let answer = ours(&format!("GET /v1/snapshots/latest/content?path={path}"));
    assert!(answer.bytes == std::fs::read(&numbers).unwrap(), "{}: {}", answer.status, answer.body);
    let listed = std::fs::read_dir(agent.scene.path("agents/locks")).unwrap().count();
    assert_eq!(listed, 0);
}
