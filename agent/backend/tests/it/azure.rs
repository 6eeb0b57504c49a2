//! Azure Blob Storage: the contract, each sort of proof, what Azurite refuses, and what only the cloud says.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use futures_util::TryStreamExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pillion_backend::{Backend, Error, ErrorKind, FileKind, FileName, conformance};
use pillion_e2e::proxy::Proxy;
use pillion_e2e::servers::{Kind, Security, Server, shared};

use crate::double::Double;
use crate::scene::{fresh_name, open_with, options, pack, tried_again};

const SAS_VERSION: &str = "2018-11-09";
const SAS_EXPIRY: &str = "2099-01-01T00:00:00Z";

fn azurite(security: Security) -> &'static Server {
    shared(Kind::Azurite, security)
}

/// A store in a container, with proof from named values.
fn store(server: &Server, container: &str, proof: &[(&str, &str)]) -> Arc<dyn Backend> {
    let location = format!("azure:{container}:/demo/a b+ü");
    let mut values = vec![
        ("AZURE_ACCOUNT_NAME", &*server.credentials().id),
        ("AZURE_STORAGE_ENDPOINT", server.endpoint()),
    ];
    values.extend(proof);
    open_with(&location, &values, &options(server)).unwrap()
}

fn owned(server: &Server, container: &str) -> Arc<dyn Backend> {
    store(server, container, &[("AZURE_ACCOUNT_KEY", &server.credentials().secret)])
}

/// A store at a double, which answers in the cloud's words; nothing is tried again.
fn at_double(double: &Double) -> Arc<dyn Backend> {
    let values = [
        ("AZURE_ACCOUNT_NAME", "account"),
        ("AZURE_ACCOUNT_KEY", "a2V5"),
        ("AZURE_STORAGE_ENDPOINT", &*double.url),
    ];
    open_with("azure:container:/", &values, &pillion_backend::open::Options::default()).unwrap()
}

fn signature(server: &Server, fields: &[&str]) -> String {
    let key = BASE64.decode(server.credentials().secret.as_bytes()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signature = BASE64.encode(hmac::sign(&key, fields.join("\n").as_bytes()).as_ref());
    utf8_percent_encode(&signature, NON_ALPHANUMERIC).to_string()
}

/// A shared access signature for the whole account.
fn account_sas(server: &Server, rights: &str, until: &str) -> String {
    let fields = [&*server.credentials().id, rights, "b", "sco", "", until, "", "", SAS_VERSION, ""];
    let signature = signature(server, &fields);
    format!("sv={SAS_VERSION}&ss=b&srt=sco&sp={rights}&se={until}&sig={signature}")
}

/// A shared access signature for what is in one container, and not for the container itself.
fn container_sas(server: &Server, container: &str, rights: &str) -> String {
    let resource = format!("/blob/{}/{container}", server.credentials().id);
    let fields = [rights, "", SAS_EXPIRY, &resource, "", "", "", SAS_VERSION, "c", "", "", "", "", "", ""];
    let signature = signature(server, &fields);
    format!("?sv={SAS_VERSION}&sr=c&sp={rights}&se={SAS_EXPIRY}&sig={signature}")
}

async fn names(store: &dyn Backend) -> Result<Vec<FileName>, Error> {
    store.list(FileKind::Pack).map_ok(|entry| entry.file).try_collect().await
}

/// Each call that reads, writes or lists, and what became of it.
async fn errors(store: &dyn Backend) -> Vec<Error> {
    vec![
        store.stat(&FileName::config()).await.unwrap_err(),
        store.load(&FileName::config(), 1).await.unwrap_err(),
        store.save(&pack('a'), vec![1].into()).await.unwrap_err(),
        store.remove(&pack('a')).await.unwrap_err(),
        names(store).await.unwrap_err(),
        store.create().await.unwrap_err(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azurite_holds_the_contract() {
    let server = azurite(Security::Plain);
    conformance::check(tried_again(owned(server, &fresh_name()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azurite_over_tls_holds_the_contract_by_a_signature() {
    let server = azurite(Security::Tls);
    let sas = account_sas(server, "rwdlc", SAS_EXPIRY);
    let store = store(server, &fresh_name(), &[("AZURE_ACCOUNT_SAS", &sas)]);
    conformance::check(tried_again(store)).await;
}

#[tokio::test]
async fn a_signature_for_what_is_in_a_container_need_not_look_at_the_container() {
    let server = azurite(Security::Plain);
    let container = fresh_name();
    owned(server, &container).create().await.unwrap();
    let sas = container_sas(server, &container, "rcwdl");
    let store = store(server, &container, &[("AZURE_ACCOUNT_SAS", &sas)]);
    store.create().await.unwrap();
    store.save(&pack('a'), vec![1, 2].into()).await.unwrap();
    assert_eq!(store.stat(&pack('a')).await.unwrap().size_bytes, 2);
    assert_eq!(names(&*store).await.unwrap(), [pack('a')]);
    store.remove(&pack('a')).await.unwrap();
    assert_eq!(names(&*store).await.unwrap(), []);
}

#[tokio::test]
async fn who_may_only_read_reads_and_is_told_so_where_it_would_write() {
    let server = azurite(Security::Plain);
    let container = fresh_name();
    let owner = owned(server, &container);
    owner.create().await.unwrap();
    owner.save(&pack('a'), vec![1, 2, 3].into()).await.unwrap();
    let sas = account_sas(server, "rl", SAS_EXPIRY);
    let reader = store(server, &container, &[("AZURE_ACCOUNT_SAS", &sas)]);
    assert_eq!(*reader.load_range(&pack('a'), 1..3).await.unwrap(), [2, 3]);
    assert_eq!(names(&*reader).await.unwrap(), [pack('a')]);
    reader.create().await.unwrap();
    for error in [
        reader.save(&pack('b'), vec![1].into()).await.unwrap_err(),
        reader.save_new(&pack('b'), vec![1].into()).await.unwrap_err(),
        reader.remove(&pack('a')).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains("(AuthorizationPermissionMismatch)"), "{error}");
    }
    let elsewhere = store(server, &fresh_name(), &[("AZURE_ACCOUNT_SAS", &sas)]);
    let error = elsewhere.create().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("there is no such container"), "{error}");
}

#[tokio::test]
async fn no_signature_is_shown_where_one_is_refused() {
    let server = azurite(Security::Plain);
    let expired = account_sas(server, "rwdlc", "2020-01-01T00:00:00Z");
    let wrong = account_sas(server, "rwdlc", SAS_EXPIRY).replace("sp=rwdlc", "sp=rwdlca");
    for sas in [expired, wrong] {
        let secret = sas.split_once("sig=").unwrap().1;
        let plain = percent_encoding::percent_decode_str(secret).decode_utf8().unwrap().into_owned();
        let store = store(server, &fresh_name(), &[("AZURE_ACCOUNT_SAS", &sas)]);
        let shown = format!("{store:?} {}", store.location());
        assert!(!shown.contains(secret) && !shown.contains(&plain), "{shown}");
        // Azurite takes whoever it does not know for one who may not look at the container.
        store.create().await.unwrap();
        for error in [
            store.stat(&FileName::config()).await.unwrap_err(),
            store.save(&pack('a'), vec![1].into()).await.unwrap_err(),
            names(&*store).await.unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(secret) && !shown.contains(&plain), "{shown}");
        }
    }
}

#[tokio::test]
async fn what_azurite_refuses_for_good_is_said_at_once() {
    let server = azurite(Security::Plain);
    let proxy = Proxy::start(server.endpoint());
    let (owner, key) = (&*server.credentials().id, &*server.credentials().secret);
    let at = |account: &str, key: &str| {
        let endpoint = format!("{}/{account}", proxy.endpoint());
        let values = [
            ("AZURE_ACCOUNT_NAME", account),
            ("AZURE_ACCOUNT_KEY", key),
            ("AZURE_STORAGE_ENDPOINT", &*endpoint),
        ];
        open_with(&format!("azure:{}:/", fresh_name()), &values, &options(server)).unwrap()
    };
    for (store, kind, words) in [
        (
            at(owner, "d3Jvbmc="),
            ErrorKind::PermissionDenied,
            "; look at AZURE_ACCOUNT_KEY and AZURE_ACCOUNT_NAME",
        ),
        (at("nobody", key), ErrorKind::Misconfigured, "there is no such account"),
    ] {
        let errors = errors(&*store).await;
        assert_eq!(proxy.forget().len(), errors.len(), "each is one request");
        for error in errors {
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
    let missing = at(owner, key);
    let error = missing.save(&pack('a'), vec![1].into()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains("there is no such container"), "{error}");
    assert_eq!(missing.load(&pack('a'), 1).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(names(&*missing).await.unwrap(), []);
    missing.remove(&pack('a')).await.unwrap();
    assert_eq!(proxy.forget().len(), 4, "each is one request");
    missing.create().await.unwrap();
    let asked: Vec<_> = proxy.forget().into_iter().map(|asked| asked.method).collect();
    assert_eq!(asked, ["HEAD", "PUT"]);
}

/// An answer in the cloud's form.
fn refused(code: &str, detail: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>So it is.\nRequestId:1\
         </Message><AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail></Error>"
    )
}

#[tokio::test]
async fn what_the_cloud_refuses_is_asked_once_and_said_in_its_words() {
    let mac = "The MAC signature found in the HTTP request 'x' is not the same as any computed signature.";
    let too_old = "Request date header too old: 'Sat, 21 Nov 2020 10:00:00 GMT'";
    for (status, code, detail, kind, words) in [
        (403, "AuthenticationFailed", mac, ErrorKind::PermissionDenied, "AZURE_ACCOUNT_KEY is no key of"),
        (403, "AuthenticationFailed", too_old, ErrorKind::PermissionDenied, "set this machine's"),
        (403, "AccountIsDisabled", "", ErrorKind::PermissionDenied, "(AccountIsDisabled)"),
        (409, "ContainerBeingDeleted", "", ErrorKind::Unavailable, "(ContainerBeingDeleted)"),
        (503, "ServerBusy", "", ErrorKind::Throttled, "(ServerBusy)"),
        // The bytes are still what they were: they were altered on their way.
        (400, "Md5Mismatch", "", ErrorKind::Unavailable, "(Md5Mismatch)"),
        (409, "BlobAlreadyExists", "", ErrorKind::AlreadyExists, "(BlobAlreadyExists)"),
    ] {
        let double = Double::start(vec![(status, refused(code, detail))]);
        let error = at_double(&double).save_new(&pack('a'), vec![1].into()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(double.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_container_is_looked_for_and_made_with_a_request_each() {
    let created = |answers: Vec<(u16, String)>| async {
        let double = Double::start(answers);
        let made = at_double(&double).create().await;
        (made, double.asked().into_iter().map(|asked| asked.line).collect::<Vec<_>>())
    };
    let (head, put) = ("HEAD /container?restype=container", "PUT /container?restype=container");
    let (made, asked) = created(vec![(200, String::new())]).await;
    assert!(made.is_ok() && asked == [head], "{asked:?}");
    for (status, body) in [(201, String::new()), (409, refused("ContainerAlreadyExists", ""))] {
        let (made, asked) = created(vec![(404, refused("ContainerNotFound", "")), (status, body)]).await;
        assert!(made.is_ok() && asked == [head, put], "{asked:?}");
    }
    let (made, _) =
        created(vec![(404, refused("ContainerNotFound", "")), (409, refused("ContainerBeingDeleted", ""))])
            .await;
    assert_eq!(made.unwrap_err().kind, ErrorKind::Unavailable);
}

/// A service account's token, and where it is exchanged.
struct Platform {
    _folder: tempfile::TempDir,
    token_file: String,
    authority: String,
}

impl Platform {
    fn new(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, "of-the-service-account\n").unwrap();
        // Kubernetes writes the slash.
        let authority = format!("{url}/");
        Self { token_file: token_file.display().to_string(), _folder: folder, authority }
    }

    fn values(&self) -> [(&str, &str); 4] {
        [
            ("AZURE_CLIENT_ID", "client"),
            ("AZURE_TENANT_ID", "tenant"),
            ("AZURE_FEDERATED_TOKEN_FILE", &self.token_file),
            ("AZURE_AUTHORITY_HOST", &self.authority),
        ]
    }
}

/// A token that the store takes until then, which the platform says is good for an hour.
fn token_answer(valid_seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() as i64;
    let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let claims = format!(
        "{{\"aud\":\"https://storage.azure.com\",\"iss\":\"https://sts.windows.net/tenant/\",\"iat\":{0},\
         \"nbf\":{0},\"exp\":{1}}}",
        now - 7200,
        now + valid_seconds
    );
    let token =
        format!("{}.{}.{}", part("{\"alg\":\"RS256\",\"typ\":\"JWT\"}"), part(&claims), part("signed"));
    format!("{{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"{token}\"}}")
}

#[tokio::test]
async fn a_token_is_exchanged_once_and_serves_for_everything() {
    let server = azurite(Security::Tls);
    let platform = Double::start(vec![(200, token_answer(3600))]);
    let scene = Platform::new(&platform.url);
    let store = store(server, &fresh_name(), &scene.values());
    assert_eq!(store.stat(&FileName::config()).await.unwrap_err().kind, ErrorKind::NotFound);
    store.create().await.unwrap();
    store.save_new(&pack('a'), vec![1, 2, 3].into()).await.unwrap();
    assert_eq!(*store.load_range(&pack('a'), 1..3).await.unwrap(), [2, 3]);
    assert_eq!(names(&*store).await.unwrap(), [pack('a')]);
    store.remove(&pack('a')).await.unwrap();
    let error = store.load(&pack('a'), 3).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    assert_eq!(platform.asked().len(), 1);
}

#[tokio::test]
async fn a_token_that_has_expired_is_exchanged_anew_once() {
    let server = azurite(Security::Tls);
    let platform = Double::start(vec![(200, token_answer(-60)), (200, token_answer(3600))]);
    let scene = Platform::new(&platform.url);
    let container = fresh_name();
    let store = store(server, &container, &scene.values());
    store.create().await.unwrap();
    store.save(&pack('a'), vec![1].into()).await.unwrap();
    let asked = platform.asked();
    assert_eq!(asked.len(), 2);
    for asked in asked {
        assert_eq!(asked.line, "POST /tenant/oauth2/v2.0/token");
        assert!(asked.body.contains("client_assertion=of-the-service-account&"), "{}", asked.body);
    }
}

#[tokio::test]
async fn a_token_that_stays_refused_ends_it() {
    let server = azurite(Security::Tls);
    let platform = Double::start(vec![(200, token_answer(-60)), (200, token_answer(-60))]);
    let scene = Platform::new(&platform.url);
    let error = store(server, &fresh_name(), &scene.values()).load(&FileName::config(), 1).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("Lifetime validation failed"), "{error}");
    assert_eq!(platform.asked().len(), 2);
}

#[tokio::test]
async fn a_platform_that_hands_out_no_token_is_quoted() {
    let server = azurite(Security::Tls);
    let body = "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS70021: No matching federated identity \
                record found.\\r\\nTrace ID: 1\",\"error_uri\":\"https://login.example.com/error?code=70021\"}";
    for (status, body, kind, words) in [
        (400, body, ErrorKind::PermissionDenied, "AADSTS70021: No matching federated identity record found."),
        (401, "<html>", ErrorKind::PermissionDenied, "the platform hands out no token: it answers 401"),
        (200, "<html>", ErrorKind::Unavailable, "the platform did not hand out a token"),
    ] {
        let platform = Double::start(vec![(status, body.to_owned())]);
        let scene = Platform::new(&platform.url);
        let error =
            store(server, &fresh_name(), &scene.values()).load(&FileName::config(), 1).await.unwrap_err();
        assert!(error.kind == kind && error.to_string().contains(words), "{:?}: {error}", error.kind);
        assert!(!error.to_string().contains("of-the-service-account"), "{error}");
        assert_eq!(platform.asked().len(), 1);
    }
    let scene = Platform::new("http://127.0.0.1:9");
    std::fs::remove_file(&scene.token_file).unwrap();
    let error = store(server, &fresh_name(), &scene.values()).load(&FileName::config(), 1).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains("AZURE_FEDERATED_TOKEN_FILE cannot be read"), "{error}");
}

#[tokio::test]
async fn a_404_that_is_not_azures_is_no_missing_blob() {
    let page = || (404, "<html><body>404 page not found</body></html>".to_owned());
    let double = Double::start(vec![page(), page()]);
    let store = at_double(&double);
    for error in [store.load(&FileName::config(), 1).await.unwrap_err(), store.create().await.unwrap_err()] {
        assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
        assert!(error.to_string().contains("; check the endpoint"), "{error}");
    }

    let heard = (404, refused("BlobNotFound", ""));
    let double = Double::start(vec![heard, page(), page(), page(), page(), page(), page()]);
    let store = at_double(&double);
    assert_eq!(store.load(&FileName::config(), 1).await.unwrap_err().kind, ErrorKind::NotFound);
    for error in [
        store.stat(&FileName::config()).await.unwrap_err(),
        store.load(&FileName::config(), 1).await.unwrap_err(),
        store.remove(&pack('a')).await.unwrap_err(),
        names(&*store).await.unwrap_err(),
        store.create().await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("which is not the store's word"), "{error}");
    }
}
