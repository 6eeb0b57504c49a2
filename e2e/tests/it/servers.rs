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
    run(restic().args(["forget", "--prune", "latest"]));
    assert!(server.processor_seconds() > 0.0);
    drop(server);
    assert!(!folder.exists());
}

macro_rules! kinds {
    ($($name:ident: $kind:ident, $security:ident;)*) => {
        $(
            #[test]
            fn $name() {
                serves_restic_and_goes(Kind::$kind, Security::$security);
            }
        )*
    };
}

kinds! {
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
}
