//! What the programs print, at their most talkative, while all goes well and while nothing does.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::Stdio;

use pillion_e2e::proxy::{Asked, Fault, Proxy};
use pillion_e2e::servers::{Kind, RESTIC_PASSWORD, Security, Server, shared};

use super::Store;
use crate::agent::wait_until;
use crate::scene::Scene;
use crate::sources::signal;

const SESSION_TOKEN: &str = "session-token-that-is-nobody-s";
const SAS: &str =
    "sv=2022-11-02&ss=b&srt=sco&sp=rwdlc&se=2100-01-01T00:00:00Z&sig=c2lnbmF0dXJlLW9mLXRoZS1zYXM%3D";
const SAS_SIGNATURES: [&str; 2] = ["c2lnbmF0dXJlLW9mLXRoZS1zYXM%3D", "c2lnbmF0dXJlLW9mLXRoZS1zYXM="];

/// A store, and what else a program is given there.
struct Told<'a> {
    scene: &'a Scene,
    store: Store,
    variables: Vec<(&'static str, String)>,
}

impl<'a> Told<'a> {
    fn new(scene: &'a Scene, store: Store) -> Self {
        Self { scene, store, variables: Vec::new() }
    }

    fn with(mut self, variables: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        self.variables.extend(variables);
        self
    }

    /// Everything the programs print about the store, one run after another.
    fn by_commands(&self) -> String {
        let source = self.scene.source();
        let source = source.to_str().unwrap();
        let mut all = String::new();
        for arguments in [
            &["init", "--json"][..],
            &["backup", "-vv", source],
            &["backup", "--json", source],
            &["snapshots", "--json"],
            &["check", "-vv"],
            &["restore", "latest", "--json", "--target", self.scene.path("target").to_str().unwrap()],
            &["unlock"],
        ] {
            let mut command = self.store.command(self.scene, arguments);
            let output = command.envs(self.variables.iter().cloned()).output().unwrap();
            all += &String::from_utf8(output.stdout).unwrap();
            all += &String::from_utf8(output.stderr).unwrap();
        }
        all
    }

    /// The log of an agent, at its most talkative, until it tells one of these words.
    fn by_agent(&self, identity: &str, words: &str) -> String {
        let settings = self.scene.path("settings.yaml");
        let text = format!(
            "repository: '{}'\nsources: ['{}']\nschedule: '0 0 1 1 *'\nlogLevel: trace\ncacheDir: '{}'\n\
             identity: {identity}\n",
            self.store.location(),
            self.scene.source().display(),
            self.scene.path("cache").display(),
        );
        std::fs::write(&settings, text).unwrap();
        let log = self.scene.path("log");
        let mut command = self.store.command(self.scene, &["agent", "--config", settings.to_str().unwrap()]);
        command.env_remove("RESTIC_REPOSITORY").envs(self.variables.iter().cloned());
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let mut agent = command.spawn().unwrap();
        let read = || std::fs::read_to_string(&log).unwrap();
        wait_until(|| read().contains(words));
        signal(agent.id(), "TERM");
        assert_eq!(agent.wait().unwrap().code(), Some(0));
        read()
    }
}

/// The agent's words where it does not get to see the repository.
const SEES_NOTHING: &str = "cannot see what is in the repository";

/// Signatures and tokens as they went over the wire: B2 hands out one for the session and one for each upload URL.
fn sent(asked: &[Asked]) -> BTreeSet<String> {
    let values = asked.iter().filter_map(|asked| asked.header("authorization"));
    let words = values.filter_map(|value| value.split_whitespace().next_back());
    // `Signature=...` of S3, `ACCOUNT:...` of Azure, and the token alone elsewhere.
    let bare = |word: &str| {
        let word = word.strip_prefix("Signature=").unwrap_or(word);
        word.split_once(':').map_or(word, |(_account, signature)| signature).to_owned()
    };
    words.map(bare).collect()
}

fn nothing_is_told(server: &'static Server) {
    let scene = Scene::new();
    let proxy = Proxy::start(server.endpoint());
    let endpoint = proxy.endpoint_of(server.endpoint());
    let behind = || Store::behind(server, &endpoint);
    let well = Told::new(&scene, behind());
    let mut told = well.by_commands() + &well.by_agent("well", "run ended");
    assert!(told.contains("\"message_type\":\"summary\"") && told.contains("run ended"), "{told}");
    // Everything but to store something.
    proxy.set(|asked| {
        let stores = asked.method == "PUT" || asked.header("x-bz-file-name").is_some();
        stores.then(|| Fault::s3(403, "AccessDenied"))
    });
    told += &well.by_agent("refused", "run failed");
    proxy.heal();
    // The key of another, and then nothing but refusals.
    let secret = match server.kind() {
        Kind::Azurite => ("AZURE_ACCOUNT_KEY", "d3Jvbmctc2VjcmV0LW9mLXRoZS10ZXN0cw==".to_owned()),
        Kind::B2 => ("B2_ACCOUNT_KEY", "wrong-secret-of-the-tests".to_owned()),
        _ => ("AWS_SECRET_ACCESS_KEY", "wrong-secret-of-the-tests".to_owned()),
    };
    let wrong = Told::new(&scene, behind()).with([secret.clone()]);
    told += &(wrong.by_commands() + &wrong.by_agent("wrong", SEES_NOTHING));
    for fault in [
        Fault::answer(403, "<html>who are you?</html>"),
        Fault::s3(403, "SignatureDoesNotMatch"),
        Fault::answer(301, "").with_header("Location", "http://127.0.0.1:9/"),
    ] {
        proxy.set(move |_| Some(fault.clone()));
        told += &(well.by_commands() + &well.by_agent("ill", SEES_NOTHING));
    }
    assert!(told.contains("Fatal: "), "{told}");
    let sent = sent(&proxy.asked());
    assert!(sent.len() > 2, "{sent:?}");
    let given = [server.credentials().secret.clone(), RESTIC_PASSWORD.to_owned(), secret.1];
    for secret in given.iter().chain(&sent) {
        assert!(!told.contains(secret.as_str()), "{secret}: {told}");
    }
}

#[test]
fn nothing_that_is_printed_holds_a_credential_of_the_store() {
    for kind in [Kind::Versity, Kind::Azurite, Kind::B2] {
        nothing_is_told(shared(kind, Security::Plain));
    }
}

/// A platform's token for Azure, as it is handed out.
fn bearer_token() -> (String, Fault) {
    let token = "eyJhbGciOiJSUzI1NiJ9.YmVhcmVyLXRva2VuLW9mLXRoZS10ZXN0cw.c2lnbmVk".to_owned();
    let body = format!("{{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"{token}\"}}");
    (token, Fault::answer(200, &body))
}

#[test]
fn nothing_that_is_printed_holds_what_was_signed_or_handed_out_for_a_while() {
    let scene = Scene::new();
    let (versity, azurite) = (shared(Kind::Versity, Security::Plain), shared(Kind::Azurite, Security::Plain));
    let (token, answer) = bearer_token();
    let platform = Proxy::start(azurite.endpoint());
    platform.set(move |_| Some(answer.clone()));
    let service_account = scene.path("service-account");
    std::fs::write(&service_account, "token-of-the-service-account").unwrap();
    let identity = [
        ("AZURE_ACCOUNT_KEY", String::new()),
        ("AZURE_CLIENT_ID", "client".to_owned()),
        ("AZURE_TENANT_ID", "tenant".to_owned()),
        ("AZURE_FEDERATED_TOKEN_FILE", service_account.display().to_string()),
        ("AZURE_AUTHORITY_HOST", format!("{}/", platform.endpoint())),
    ];
    let sas = [("AZURE_ACCOUNT_KEY", String::new()), ("AZURE_ACCOUNT_SAS", SAS.to_owned())];
    let session = [("AWS_SESSION_TOKEN", SESSION_TOKEN.to_owned())];
    let secrets: Vec<_> =
        [SESSION_TOKEN, &*token, "token-of-the-service-account"].into_iter().chain(SAS_SIGNATURES).collect();
    let check = |refused: &Told<'_>| {
        let told = refused.by_commands() + &refused.by_agent("refused", SEES_NOTHING);
        for secret in &secrets {
            assert!(!told.contains(secret), "{secret}: {told}");
        }
    };
    for (server, variables, carried) in
        [(versity, session.to_vec(), SESSION_TOKEN), (azurite, sas.to_vec(), "sig=c2ln")]
    {
        let proxy = Proxy::start(server.endpoint());
        proxy.set(|_| Some(Fault::s3(403, "AccessDenied")));
        let store = Store::behind(server, &proxy.endpoint_of(server.endpoint()));
        check(&Told::new(&scene, store).with(variables));
        assert!(format!("{:?}", proxy.asked()).contains(carried), "it was not sent");
    }
    // A bearer's token goes over TLS only, where nobody looks on.
    check(&Told::new(&scene, Store::new(shared(Kind::Azurite, Security::Tls))).with(identity));
    assert!(!platform.asked().is_empty(), "no token was handed out");
}
