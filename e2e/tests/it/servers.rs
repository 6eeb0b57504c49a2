//! Every kind of server starts, serves stock restic, and goes: with its owner, and with its owner's process.

use std::path::Path;
use std::process::Command;

use pillion_e2e::servers::{Kind, Security, Server};

fn run(command: &mut Command) -> String {
    let output = command.output().expect("start restic");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

fn serves_restic_and_goes(kind: Kind, security: Security) {
    let started = std::time::Instant::now();
    let server = Server::start(kind, security);
    println!("{kind:?} {security:?}: started in {:?}", started.elapsed());
    let folder = server.folder().to_owned();
    let restic = || server.restic("bucket", "some/prefix");
    run(restic().arg("init"));
    run(restic().arg("backup").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")));
    run(restic().args(["check", "--read-data"]));
    let snapshots = run(restic().args(["snapshots", "--json"]));
    assert!(snapshots.contains("/e2e/src"), "{snapshots}");
    assert!(server.processor_seconds() > 0.0);
    drop(server);
    assert!(!folder.exists());
}

#[test]
fn versitygw_serves_restic_plain() {
    serves_restic_and_goes(Kind::Versity, Security::Plain);
}

#[test]
fn versitygw_serves_restic_over_tls() {
    serves_restic_and_goes(Kind::Versity, Security::Tls);
}

#[test]
fn seaweed_serves_restic_plain() {
    serves_restic_and_goes(Kind::SeaweedFs, Security::Plain);
}

#[test]
fn seaweed_serves_restic_over_tls() {
    serves_restic_and_goes(Kind::SeaweedFs, Security::Tls);
}
