//! Azurite, the vendor's own double of Azure Blob Storage, with one account.

use std::process::Command;

use super::{Credentials, Launch, Place, Security, tool};

/// Not the emulator's usual one: some clients turn to port 10000 of this machine where they meet its name.
const ACCOUNT: &str = "pillionstore";
const KEY: &str = "a2V5IG9mIHRoZSB0ZXN0cyBvZiB0aGUgc3RvcmVzLCBvcGVucyBub3RoaW5nIGVsc2U=";

pub(super) fn launch(place: &mut Place<'_>) -> Launch {
    let port = place.ports.take();
    let mut command = Command::new(tool("azurite/node_modules/.bin/azurite-blob"));
    command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
    command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"));
    // Its files on disk make each of thousands of names slower than the one before.
    command.arg("--inMemoryPersistence");
    // Clients name newer versions of the API than a pinned Azurite knows.
    command.args(["--silent", "--disableTelemetry", "--skipApiVersionCheck"]);
    if place.security == Security::Tls {
        // Whoever's token says the right things: it knows no signature of the vendor's.
        command.args(["--oauth", "basic"]);
        command.arg("--cert").arg(&place.certificate.leaf).arg("--key").arg(&place.certificate.key);
    }
    // The account is the first part of a path where the host is no name of the vendor's.
    let path = "/pillionstore";
    let list = format!("{}://127.0.0.1:{port}{path}?comp=list", place.security.scheme());
    Launch { command, port, tls_port: None, path, questions: vec![(list, 403)] }
}

pub(super) fn owner() -> Credentials {
    Credentials::new(ACCOUNT, KEY)
}
