//! SeaweedFS: master, volume server, filer and S3 gateway in one process, each with ports of its own.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{Credentials, Launch, Place, Rights, Security, tool};

pub(super) fn launch(place: &mut Place<'_>) -> Launch {
    let data = place.folder.join("data");
    fs::create_dir(&data).expect("the folder is ours");
    let users = place.folder.join("users.json");
    fs::write(&users, self::users()).expect("the folder is ours");

    let mut command = Command::new(tool("python/bin/weed"));
    // Nothing is read from configuration folders of the user's.
    command.env("HOME", place.folder);
    command.arg("server").arg(format!("-dir={}", data.display()));
    command.args([
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.iam=false",
    ]);
    command.args(["-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=100"]);
    // Otherwise it refuses writes where the disk is fuller than that.
    command.arg("-volume.minFreeSpace=64MiB").arg(format!("-s3.config={}", users.display()));
    let mut port = |option: &str| {
        let port = place.ports.take();
        command.arg(format!("-{option}={port}"));
        port
    };
    let (master, filer) = (port("master.port"), port("filer.port"));
    for option in ["master.port.grpc", "volume.port", "volume.port.grpc", "filer.port.grpc", "s3.port.grpc"] {
        port(option);
    }
    let plain = port("s3.port");
    let tls = (place.security == Security::Tls).then(|| port("s3.port.https"));
    if tls.is_some() {
        command.arg(format!("-s3.cert.file={}", place.certificate.leaf.display()));
        command.arg(format!("-s3.key.file={}", place.certificate.key.display()));
    }
    let port = tls.unwrap_or(plain);
    let questions = vec![
        // Fails until a volume server has room for a file.
        (format!("http://127.0.0.1:{master}/dir/assign"), 200),
        (format!("http://127.0.0.1:{filer}/"), 200),
        (format!("{}://127.0.0.1:{port}/healthz", place.security.scheme()), 200),
    ];
    Launch { command, port, tls_port: None, path: "", questions }
}

pub(super) fn user(rights: Rights) -> Credentials {
    match rights {
        Rights::Read => Credentials::reader(),
        Rights::Nothing => Credentials::stranger(),
        Rights::Quota { .. } => panic!("SeaweedFS has no quota of a user"),
    }
}

fn users() -> String {
    let user = |name: &str, keys: Credentials, actions: &[&str]| {
        let keys = json!([{ "accessKey": keys.id, "secretKey": keys.secret }]);
        json!({ "name": name, "credentials": keys, "actions": actions })
    };
    let all = [
        user("owner", Credentials::owner(), &["Admin", "Read", "Write", "List", "Tagging"]),
        user("reader", Credentials::reader(), &["Read", "List"]),
        user("stranger", Credentials::stranger(), &[]),
    ];
    json!({ "identities": all }).to_string()
}
