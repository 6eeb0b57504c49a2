//! What the programs print, at their most talkative, while all goes well and while nothing does.

use std::fs::File;
use std::process::Stdio;

use pillion_e2e::proxy::{Fault, Proxy};
use pillion_e2e::servers::{Kind, RESTIC_PASSWORD, Security, Server, shared};

use super::Store;
use crate::agent::wait_until;
use crate::scene::Scene;
use crate::sources::signal;

/// Everything the programs print about a store, one run after another.
fn printed_by_commands(scene: &Scene, store: &Store) -> String {
    let source = scene.source();
    let source = source.to_str().unwrap();
    let mut all = String::new();
    for arguments in [
        &["init", "--json"][..],
        &["backup", "-vv", source],
        &["backup", "--json", source],
        &["snapshots", "--json"],
        &["check", "-vv"],
        &["restore", "latest", "--json", "--target", scene.path("target").to_str().unwrap()],
        &["unlock"],
    ] {
        let printed = store.run(scene, arguments);
        all += &printed.out;
        all += &printed.err;
    }
    all
}

fn printed_by_agent(scene: &Scene, store: &Store) -> String {
    let settings = scene.path("settings.yaml");
    let text = format!(
        "repository: '{}'\nsources: ['{}']\nschedule: '0 0 1 1 *'\nlogLevel: trace\ncacheDir: '{}'\n",
        store.location(),
        scene.source().display(),
        scene.path("cache").display(),
    );
    std::fs::write(&settings, text).unwrap();
    let log = scene.path("log");
    let mut command = store.command(scene, &["agent", "--config", settings.to_str().unwrap()]);
    command.env_remove("RESTIC_REPOSITORY").stdout(Stdio::null()).stderr(File::create(&log).unwrap());
    let mut agent = command.spawn().unwrap();
    let read = || std::fs::read_to_string(&log).unwrap();
    wait_until(|| read().contains("run ended"));
    signal(agent.id(), "TERM");
    assert_eq!(agent.wait().unwrap().code(), Some(0));
    read()
}

fn nothing_is_told(server: &'static Server) {
    let scene = Scene::new();
    let well = Store::new(server);
    let mut told = printed_by_commands(&scene, &well) + &printed_by_agent(&scene, &well);
    assert!(told.contains("\"message_type\":\"summary\"") && told.contains("run ended"), "{told}");
    let proxy = Proxy::start(server.endpoint());
    let path = server.endpoint().splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
    for fault in [
        Fault::answer(403, "<html>who are you?</html>"),
        Fault::s3(403, "SignatureDoesNotMatch"),
        Fault::answer(301, "").with_header("Location", "http://127.0.0.1:9/"),
    ] {
        proxy.set(move |_| Some(fault.clone()));
        let ill = Store::behind(server, &(proxy.endpoint() + &path));
        told += &printed_by_commands(&scene, &ill);
    }
    assert!(told.contains("Fatal: "), "{told}");
    for secret in [server.credentials().secret.as_str(), RESTIC_PASSWORD] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn nothing_that_is_printed_holds_a_credential_of_the_store() {
    for kind in [Kind::Versity, Kind::Azurite, Kind::B2] {
        nothing_is_told(shared(kind, Security::Plain));
    }
}
