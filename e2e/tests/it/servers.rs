//! Every kind of server starts, serves stock restic, and goes: with its owner, and with its owner's process.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pillion_e2e::servers::{Kind, Rights, Security, Server, minio_is_there, shared};

/// A hang of ours is to fail the test, not to hold up all of them.
const PATIENCE: Duration = Duration::from_secs(120);

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// Runs it to its end, and gives whether it succeeded and all that it said.
fn outcome(command: &mut Command) -> (bool, String) {
    let output = command.output().expect("start restic");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

fn succeeds(command: &mut Command) -> String {
    let (succeeded, text) = outcome(command);
    assert!(succeeded, "{command:?}: {text}");
    text
}

fn fails(command: &mut Command) -> String {
    let (succeeded, text) = outcome(command);
    assert!(!succeeded, "{command:?}: {text}");
    text
}

fn answers(endpoint: &str) -> bool {
    let address = endpoint.split('/').nth(2).expect("an endpoint is a URL");
    TcpStream::connect(address).is_ok()
}

fn serves_restic_and_goes(kind: Kind, security: Security) {
    if kind == Kind::Minio && !minio_is_there() {
        println!("not run: PILLION_TEST_MINIO names no binary of MinIO");
        return;
    }
    let begun = Instant::now();
    let server = Server::start(kind, security);
    println!("{kind:?} {security:?}: up in {} ms", begun.elapsed().as_millis());
    let (folder, endpoint) = (server.folder().to_owned(), server.endpoint().to_owned());
    let restic = || server.restic("bucket", "some/prefix");
    succeeds(restic().arg("init"));
    succeeds(restic().args(["backup", SOURCE]));
    succeeds(restic().args(["check", "--read-data"]));
    let snapshots = succeeds(restic().args(["snapshots", "--json"]));
    assert!(snapshots.contains(SOURCE), "{snapshots}");
    succeeds(restic().args(["forget", "--prune", "latest"]));
    assert!(server.processor_seconds() > 0.0);
    drop(server);
    assert!(!folder.exists());
    assert!(!answers(&endpoint));
}

macro_rules! serve_restic_and_go {
    ($($name:ident: $kind:ident, $security:ident;)*) => {
        $(
            #[test]
            fn $name() {
                serves_restic_and_goes(Kind::$kind, Security::$security);
            }
        )*
    };
}

serve_restic_and_go! {
    ceph_serves_restic_plain: Ceph, Plain;
    ceph_serves_restic_over_tls: Ceph, Tls;
    seaweed_serves_restic_plain: SeaweedFs, Plain;
    seaweed_serves_restic_over_tls: SeaweedFs, Tls;
    versitygw_serves_restic_plain: Versity, Plain;
    versitygw_serves_restic_over_tls: Versity, Tls;
    azurite_serves_restic_plain: Azurite, Plain;
    azurite_serves_restic_over_tls: Azurite, Tls;
    the_model_of_b2_serves_restic_plain: B2, Plain;
    the_model_of_b2_serves_restic_over_tls: B2, Tls;
    minio_serves_restic_plain: Minio, Plain;
    minio_serves_restic_over_tls: Minio, Tls;
}

/// The program that holds a store of that kind, once it is up, with the lines it said of it.
fn holder(kind: &str) -> (Child, Vec<String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
    let mut holder =
        command.arg(kind).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start a store");
    let lines = BufReader::new(holder.stdout.take().expect("it is piped")).lines();
    let lines = lines.take(6).collect::<Result<_, _>>().expect("the lines are text");
    (holder, lines)
}

fn value<'a>(lines: &'a [String], name: &str) -> &'a str {
    lines
        .iter()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .expect("it says how it is reached")
}

fn waits_for(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "{what} did not happen in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_server_goes_with_a_process_that_is_killed() {
    // One with a single process, and one with several.
    for kind in ["versity", "ceph"] {
        let (mut holder, lines) = holder(kind);
        let (folder, endpoint) = (Path::new(value(&lines, "FOLDER")), value(&lines, "ENDPOINT"));
        assert!(folder.exists() && answers(endpoint));
        holder.kill().expect("kill the holder");
        holder.wait().expect("wait for the holder");
        waits_for("the end of the folder", || !folder.exists());
        assert!(!answers(endpoint));
    }
}

#[test]
fn a_server_that_ends_by_itself_is_told_with_its_log() {
    let empty = tempfile::tempdir().expect("make a temporary folder");
    std::fs::create_dir(empty.path().join("bin")).expect("the folder is ours");
    let broken = empty.path().join("bin/versitygw");
    std::fs::write(&broken, "#!/bin/sh\necho no such thing as $#\nexit 3\n").expect("the folder is ours");
    succeeds(Command::new("chmod").arg("+x").arg(&broken));
    let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
    let said = fails(command.arg("versity").env("PILLION_TEST_TOOLS", empty.path()));
    assert!(said.contains("ended by itself") && said.contains("no such thing as"), "{said}");
}

#[test]
fn a_missing_tool_is_told_with_what_brings_it() {
    let empty = tempfile::tempdir().expect("make a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
    let said = fails(command.arg("versity").env("PILLION_TEST_TOOLS", empty.path()));
    assert!(said.contains("bin/versitygw is missing: run make tools"), "{said}");
}

#[test]
fn tests_of_one_process_share_a_server() {
    let other = std::thread::spawn(|| shared(Kind::Versity, Security::Plain));
    let mine = shared(Kind::Versity, Security::Plain);
    assert!(std::ptr::eq(mine, other.join().expect("it starts")));
    assert!(!std::ptr::eq(mine, shared(Kind::Versity, Security::Tls)));
}

fn rights_hold(kind: Kind) {
    let server = Server::start(kind, Security::Plain);
    let (bucket, prefix) = ("bucket", "rights");
    succeeds(server.restic(bucket, prefix).arg("init"));
    // Asked for twice, they are there still.
    for _ in 0..2 {
        let stranger = server.user(Rights::Nothing);
        fails(server.restic_as(&stranger, bucket, prefix).args(["cat", "config", "--no-lock"]));
        fails(server.restic_as(&stranger, "bucket-of-a-stranger", prefix).arg("init"));
    }
    if kind == Kind::Versity {
        return;
    }
    for _ in 0..2 {
        let reader = server.user(Rights::Read);
        succeeds(server.restic_as(&reader, bucket, prefix).args(["cat", "config", "--no-lock"]));
        fails(server.restic_as(&reader, bucket, prefix).args(["backup", SOURCE]));
    }
}

#[test]
fn users_of_ceph_have_the_rights_they_were_made_with() {
    rights_hold(Kind::Ceph);
}

#[test]
fn users_of_seaweed_have_the_rights_they_were_made_with() {
    rights_hold(Kind::SeaweedFs);
}

#[test]
fn users_of_versitygw_have_the_rights_they_were_made_with() {
    rights_hold(Kind::Versity);
}

#[test]
fn a_quota_of_ceph_is_refused_beyond() {
    let server = Server::start(Kind::Ceph, Security::Plain);
    let limited = server.user(Rights::Quota { bytes: 1 << 20 });
    let data = server.folder().join("random");
    let bytes: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(8 << 20).collect();
    std::fs::write(&data, bytes).expect("the folder is ours");
    succeeds(server.restic_as(&limited, "limited", "").arg("init"));
    // restic would try again for a quarter of an hour.
    let mut backup = server.restic_as(&limited, "limited", "");
    let mut backup = backup.arg("backup").arg(data).stderr(Stdio::piped()).spawn().expect("start restic");
    let said = BufReader::new(backup.stderr.take().expect("it is piped")).lines();
    let refused = said.map_while(Result::ok).any(|line| line.contains("QuotaExceeded"));
    backup.kill().expect("kill restic");
    backup.wait().expect("wait for restic");
    assert!(refused);
}
