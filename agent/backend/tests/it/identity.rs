//! S3 by keys that a platform hands out: each sort of platform, and what is said where it hands out none.
//!
//! The platform is a double, and the keys are those of a real server's owner.

use std::fmt::Debug;
use std::net::TcpListener;
use std::sync::Arc;

use pillion_backend::{Backend, Error, ErrorKind};
use pillion_e2e::proxy::{Fault, Proxy};
use pillion_e2e::servers::{Credentials, Kind, Security, Server, shared};

use crate::double::{Asked, Double};
use crate::scene::{fresh_name, open_with, options, pack, tried_again};

const TOKEN: &str = "token-of-the-service-account";
const INSTANCE_TOKEN: &str = "token-of-the-instance";
const SESSION: &str = "session-of-the-tests";
const EXPIRED_KEY: &str = "EXPIREDKEYID";

#[derive(Clone, Copy, Debug)]
enum Platform {
    /// A service account's token is exchanged at the token service (IRSA).
    WebIdentity,
    /// An agent on the node (EKS pod identity).
    Pod,
    /// The machine's own metadata service.
    Instance,
}

use Platform::{Instance, Pod, WebIdentity};

const PLATFORMS: [Platform; 3] = [WebIdentity, Pod, Instance];

impl Platform {
    /// The answers of one exchange. The keys of a server's user are of no session: it knows no token for them.
    fn hands_out(self, keys: &Credentials) -> Vec<(u16, String)> {
        self.hands_out_for(keys, "")
    }

    fn hands_out_for(self, keys: &Credentials, session: &str) -> Vec<(u16, String)> {
        let Credentials { id, secret } = keys;
        let until = "2099-01-01T00:00:00Z";
        let json = format!(
            "{{\"Code\":\"Success\",\"AccessKeyId\":\"{id}\",\"SecretAccessKey\":\"{secret}\",\
             \"Token\":\"{session}\",\"Expiration\":\"{until}\"}}"
        );
        let text = |text: &str| (200, text.to_owned());
        match self {
            WebIdentity => vec![(
                200,
                format!(
                    "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                     <AssumeRoleWithWebIdentityResult><Credentials><SessionToken>{session}</SessionToken>\
                     <SecretAccessKey>{secret}</SecretAccessKey><Expiration>{until}</Expiration>\
                     <AccessKeyId>{id}</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>\
                     </AssumeRoleWithWebIdentityResponse>"
                ),
            )],
            Pod => vec![text(&json)],
            Instance => vec![text(INSTANCE_TOKEN), text("the-role"), text(&json)],
        }
    }

    /// Whether that is how one exchange is asked for.
    fn is_asked_rightly(self, asked: &[Asked]) {
        let lines: Vec<_> = asked.iter().map(|asked| asked.line.as_str()).collect();
        match self {
            WebIdentity => {
                let (path, query) = lines[0].split_once('?').unwrap();
                assert_eq!((lines.len(), path), (1, "POST /"));
                let token = format!("WebIdentityToken={TOKEN}");
                let role = "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fpillion";
                for pair in ["Action=AssumeRoleWithWebIdentity", "RoleSessionName=night", role, &token] {
                    assert!(query.split('&').any(|other| other == pair), "{query}");
                }
            }
            Pod => {
                assert_eq!(lines, ["GET /v1/credentials"]);
                assert_eq!(asked[0].header("authorization"), Some(TOKEN));
            }
            Instance => {
                let roles = "/latest/meta-data/iam/security-credentials/";
                let role = format!("GET {roles}the-role");
                assert_eq!(lines, ["PUT /latest/api/token", &format!("GET {roles}"), &role]);
                for asked in &asked[1..] {
                    assert_eq!(asked.header("x-aws-ec2-metadata-token"), Some(INSTANCE_TOKEN));
                }
            }
        }
    }
}

/// A store behind a proxy, for which a platform's double at `url` hands out the keys.
struct Scene {
    server: &'static Server,
    proxy: Proxy,
    folder: tempfile::TempDir,
    store: Arc<dyn Backend>,
}

impl Scene {
    fn new(platform: Platform, url: &str) -> Self {
        let server = shared(Kind::Versity, Security::Plain);
        let proxy = Proxy::start(server.endpoint());
        proxy.set(|asked| {
            let is_expired = asked.header("authorization").unwrap().contains(EXPIRED_KEY);
            is_expired.then(|| Fault::s3(400, "ExpiredToken"))
        });
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        // A role's token may have been written with a line's end; the agent on the node is the platform's own.
        let end = if matches!(platform, WebIdentity) { "\r\n" } else { "" };
        std::fs::write(&token_file, format!("{TOKEN}{end}")).unwrap();
        let (token_file, agent) = (token_file.display().to_string(), format!("{url}/v1/credentials"));
        let values: &[(&str, &str)] = match platform {
            WebIdentity => &[
                ("AWS_ROLE_ARN", "arn:aws:iam::1:role/pillion"),
                ("AWS_ROLE_SESSION_NAME", "night"),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", &token_file),
                ("AWS_ENDPOINT_URL_STS", url),
            ],
            Pod => &[
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &agent),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token_file),
            ],
            Instance => &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)],
        };
        let location = format!("s3:{}/{}/p", proxy.endpoint(), fresh_name());
        let store = open_with(&location, values, &options(server)).unwrap();
        Self { server, proxy, folder, store }
    }

    /// The error of a call that is tried again where that is worth it.
    async fn refused(&self) -> Error {
        let error = tried_again(Arc::clone(&self.store)).stat(&pack('a')).await.unwrap_err();
        self.shows_no_secret(&error);
        assert!(!error.to_string().contains('\n'), "{error}");
        self.shows_no_secret(&error.to_string());
        error
    }

    fn shows_no_secret(&self, shown: &dyn Debug) {
        let shown = format!("{:?} {shown:?}", self.store);
        for secret in [TOKEN, INSTANCE_TOKEN, SESSION, &self.server.credentials().secret] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

fn owner() -> &'static Credentials {
    shared(Kind::Versity, Security::Plain).credentials()
}

/// Keys that the proxy says have expired.
fn expired() -> Credentials {
    Credentials { id: EXPIRED_KEY.to_owned(), secret: owner().secret.clone() }
}

/// Nobody listens there any more.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn keys_that_a_platform_hands_out_serve_for_everything() {
    for platform in PLATFORMS {
        let double = Double::start(platform.hands_out(owner()));
        let scene = Scene::new(platform, &double.url);
        scene.store.create().await.unwrap();
        scene.store.save(&pack('a'), vec![1, 2, 3].into()).await.unwrap();
        assert_eq!(*scene.store.load_range(&pack('a'), 1..3).await.unwrap(), [2, 3]);
        platform.is_asked_rightly(&double.asked());
        scene.shows_no_secret(&());
    }
}

#[tokio::test]
async fn the_token_of_a_session_goes_with_its_keys() {
    for platform in PLATFORMS {
        let double = Double::start(platform.hands_out_for(owner(), SESSION));
        let scene = Scene::new(platform, &double.url);
        scene.proxy.set(|_| Some(Fault::answer(200, "found")));
        assert_eq!(scene.store.load(&pack('a'), 5).await.unwrap(), "found");
        let asked = scene.proxy.asked();
        assert_eq!(asked[0].header("x-amz-security-token"), Some(SESSION), "{platform:?}");
        let signed = "host;x-amz-content-sha256;x-amz-date;x-amz-security-token";
        assert!(asked[0].header("authorization").unwrap().contains(signed), "{platform:?}");
        scene.shows_no_secret(&());
    }
}

#[tokio::test]
async fn keys_that_have_expired_are_exchanged_anew_once() {
    for platform in PLATFORMS {
        let double = Double::start([platform.hands_out(&expired()), platform.hands_out(owner())].concat());
        let scene = Scene::new(platform, &double.url);
        scene.store.create().await.unwrap();
        // HEAD with either keys, and the PUT of the bucket.
        assert_eq!(scene.proxy.asked().len(), 3, "{platform:?}");
        scene.store.save(&pack('a'), vec![1].into()).await.unwrap();
        assert_eq!(scene.proxy.asked().len(), 4, "{platform:?}");
        let asked = double.asked();
        let (first, second) = asked.split_at(asked.len() / 2);
        platform.is_asked_rightly(first);
        platform.is_asked_rightly(second);
    }
}

#[tokio::test]
async fn calls_whose_keys_expire_at_one_time_exchange_them_once_together() {
    let double = Double::start([Pod.hands_out(&expired()), Pod.hands_out(owner())].concat());
    let scene = Scene::new(Pod, &double.url);
    let calls = ['a', 'b', 'c', 'd', 'e'].map(|digit| {
        let store = Arc::clone(&scene.store);
        async move { store.stat(&pack(digit)).await.unwrap_err().kind }
    });
    for kind in futures_util::future::join_all(calls).await {
        assert_eq!(kind, ErrorKind::NotFound);
    }
    assert_eq!(double.asked().len(), 2);
}

#[tokio::test]
async fn keys_that_stay_expired_end_it() {
    for platform in PLATFORMS {
        let answers = platform.hands_out(&expired());
        let double = Double::start([answers.clone(), answers.clone()].concat());
        let scene = Scene::new(platform, &double.url);
        let error = scene.store.save(&pack('a'), vec![1].into()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains("ExpiredToken"), "{error}");
        assert_eq!((scene.proxy.asked().len(), double.asked().len()), (2, 2 * answers.len()));
    }
}

#[tokio::test]
async fn a_platform_that_refuses_is_asked_once_and_quoted() {
    let no_provider = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <Error>\n    \
        <Type>Sender</Type>\n    <Code>InvalidIdentityToken</Code>\n    <Message>No OpenIDConnect provider found \
        for https://oidc.example.com/id/1</Message>\n  </Error>\n</ErrorResponse>";
    let missing =
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are missing, and the instance hands out no keys: ";
    for (platform, status, body, words) in [
        (WebIdentity, 400, no_provider, "found for https://oidc.example.com/id/1 (InvalidIdentityToken)"),
        (WebIdentity, 403, "", "the platform hands out no keys: it answers 403"),
        (
            Pod,
            403,
            "AccessDeniedException: no such role\n",
            "403 Forbidden: AccessDeniedException: no such role",
        ),
        (Pod, 404, "<html>", "the platform hands out no keys: it answers 404"),
        (Instance, 403, "", missing),
        // Another cloud's.
        (Instance, 404, "<!DOCTYPE html>\n<html>", missing),
    ] {
        let double = Double::start(vec![(status, body.to_owned())]);
        let scene = Scene::new(platform, &double.url);
        let error = scene.refused().await;
        assert!(error.kind == ErrorKind::PermissionDenied, "{:?}: {error}", error.kind);
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!((scene.proxy.asked().len(), double.asked().len()), (0, 1));
    }
}

#[tokio::test]
async fn an_answer_that_holds_no_keys_is_not_repeated() {
    for platform in PLATFORMS {
        let mut answers = platform.hands_out(owner());
        answers.pop();
        answers.push((200, format!("{:?}", owner().secret)));
        let double = Double::start(answers);
        let scene = Scene::new(platform, &double.url);
        let error = scene.store.stat(&pack('a')).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().ends_with("did not hand out keys: its answer cannot be read"), "{error}");
        scene.shows_no_secret(&error);
    }
}

#[tokio::test]
async fn where_there_is_no_platform_the_missing_keys_are_named_at_once() {
    let scene = Scene::new(Instance, &nobody());
    let error = scene.refused().await;
    assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are missing"), "{error}");
    assert_eq!(scene.proxy.asked().len(), 0);
}

#[tokio::test]
async fn a_platform_that_was_there_and_does_not_answer_is_waited_for() {
    let double = Double::start(Instance.hands_out(&expired()));
    let gone = Scene::new(Instance, &double.url);
    for scene in [gone, Scene::new(WebIdentity, &nobody()), Scene::new(Pod, &nobody())] {
        let error = scene.store.stat(&pack('a')).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        scene.shows_no_secret(&error);
    }
}

#[tokio::test]
async fn a_missing_token_file_is_named() {
    for (platform, name) in [
        (WebIdentity, "AWS_WEB_IDENTITY_TOKEN_FILE cannot be read"),
        (Pod, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read"),
    ] {
        let scene = Scene::new(platform, &nobody());
        std::fs::remove_file(scene.folder.path().join("token")).unwrap();
        let error = scene.refused().await;
        assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}
