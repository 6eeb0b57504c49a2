//! versitygw: an S3 gateway over a directory, whose users are made by its own tool.

use std::fs;
use std::process::Command;

use super::{Credentials, Launch, Place, Security, Server, tool};

pub(super) fn launch(place: &mut Place<'_>) -> Launch {
    let port = place.ports.take();
    let (buckets, users) = (place.folder.join("buckets"), place.folder.join("users"));
    for folder in [&buckets, &users] {
        fs::create_dir(folder).expect("the folder is ours");
    }
    let owner = Credentials::owner();
    let mut command = Command::new(tool("bin/versitygw"));
    command.env("ROOT_ACCESS_KEY", owner.id).env("ROOT_SECRET_KEY", owner.secret);
    command.arg("--port").arg(format!("127.0.0.1:{port}")).arg("--iam-dir").arg(users);
    command.args(["--health", "/health"]);
    if place.security == Security::Tls {
        command.arg("--cert").arg(&place.certificate.leaf).arg("--key").arg(&place.certificate.key);
    }
    command.arg("posix").arg(buckets);
    let health = format!("{}://127.0.0.1:{port}/health", place.security.scheme());
    Launch { command, port, tls_port: None, path: "", questions: vec![(health, 200)] }
}

/// A user who owns nothing, and may not make a bucket.
pub(super) fn stranger(server: &Server) -> Credentials {
    let stranger = Credentials::stranger();
    let owner = server.credentials();
    let mut command = Command::new(tool("bin/versitygw"));
    command.args(["admin", "--allow-insecure", "--endpoint-url", server.endpoint()]);
    command.args(["--access", &owner.id, "--secret", &owner.secret]);
    command.args(["create-user", "--access", &stranger.id, "--secret", &stranger.secret, "--role", "user"]);
    let output = command.output().expect("start versitygw");
    let text = String::from_utf8_lossy(&output.stderr);
    // Asked for twice, it is the same one.
    assert!(output.status.success() || text.contains("exists"), "create a user of versitygw: {text}");
    stranger
}
