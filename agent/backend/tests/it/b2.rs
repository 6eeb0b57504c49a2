//! Backblaze B2: the contract, what each of its failures leads to and at what price, and keys that may little.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use pillion_backend::{Backend, Entry, Error, ErrorKind, FileKind, FileName, conformance};
use pillion_e2e::servers::{Credentials, Kind, Rights, Security, Server, shared};

use crate::double::Double;
use crate::scene::{fresh_name, open_with, options, pack, tried_again};

/// A store at a server, for that key.
fn b2_as(server: &Server, key: &Credentials, location: &str, more: &[(&str, &str)]) -> Arc<dyn Backend> {
    let mut values = vec![
        ("B2_ACCOUNT_ID", &*key.id),
        ("B2_ACCOUNT_KEY", &*key.secret),
        ("B2_API_URL", server.endpoint()),
    ];
    values.extend(more);
    open_with(&format!("b2:{location}"), &values, &options(server)).unwrap()
}

fn b2(server: &Server, location: &str) -> Arc<dyn Backend> {
    b2_as(server, server.credentials(), location, &[])
}

async fn names(store: &dyn Backend) -> Result<Vec<FileName>, Error> {
    store.list(FileKind::Pack).map_ok(|entry: Entry| entry.file).try_collect().await
}

/// How often each call was made since `before`.
fn counts_since(server: &Server, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut counts = server.b2_counts();
    counts.iter_mut().for_each(|(call, count)| *count -= before.get(call).copied().unwrap_or(0));
    counts.retain(|_, count| *count > 0);
    counts
}

fn calls(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(call, count)| ((*call).to_owned(), *count)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_holds_the_contract() {
    let server = shared(Kind::B2, Security::Plain);
    conformance::check(tried_again(b2(server, &format!("{}:demo/a b+ü", fresh_name())))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_over_tls_holds_the_contract() {
    let server = shared(Kind::B2, Security::Tls);
    conformance::check(tried_again(b2(server, &fresh_name()))).await;
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Save,
    Load,
    LoadRange,
    Stat,
    List,
    Remove,
}

impl Call {
    async fn make(self, store: &dyn Backend) -> Result<(), Error> {
        let file = pack('a');
        match self {
            Self::Save => store.save(&file, vec![1; 1_000].into()).await,
            Self::Load => store.load(&file, u64::MAX).await.map(drop),
            Self::LoadRange => store.load_range(&file, 10..20).await.map(drop),
            Self::Stat => store.stat(&file).await.map(drop),
            Self::List => names(store).await.map(drop),
            Self::Remove => store.remove(&file).await,
        }
    }
}

const LIST: &str = "b2_list_file_names";
const VERSIONS: &str = "b2_list_file_versions";
const BUCKETS: &str = "b2_list_buckets";
const AUTHORIZE: &str = "b2_authorize_account";
const URL: &str = "b2_get_upload_url";
const DELETE: &str = "b2_delete_file_version";
const HIDE: &str = "b2_hide_file";

type Outcome = Option<(ErrorKind, &'static str)>;
type Case = (Call, &'static [(&'static str, u32)], Outcome, &'static [(&'static str, u64)]);

const FINE: Outcome = None;
const BUSY: Outcome = Some((ErrorKind::Throttled, "service_unavailable"));

/// What a call costs where a fault is met, with a session and an upload URL at rest.
const CASES: &[Case] = &[
    (Call::Save, &[], FINE, &[("upload", 1)]),
    (Call::Load, &[], FINE, &[("download", 1)]),
    (Call::LoadRange, &[], FINE, &[("download", 1)]),
    (Call::Stat, &[], FINE, &[("download", 1)]),
    (Call::List, &[], FINE, &[(LIST, 1)]),
    (Call::Remove, &[], FINE, &[(VERSIONS, 1), (DELETE, 1)]),
    // Another pod takes it at once, and that a second one does not is for the patience of others.
    (Call::Save, &[("upload_503", 1)], FINE, &[("upload", 2), (URL, 1)]),
    (Call::Save, &[("upload_503", 2)], BUSY, &[("upload", 2), (URL, 1)]),
    (Call::Save, &[("upload_401", 1)], FINE, &[("upload", 2), (URL, 1)]),
    (
        Call::Save,
        &[("upload_401", 2)],
        Some((ErrorKind::Unavailable, "expired_auth_token")),
        &[("upload", 2), (URL, 1)],
    ),
    (Call::Save, &[("upload_408", 1)], FINE, &[("upload", 2), (URL, 1)]),
    (Call::Save, &[("upload_reset", 1)], FINE, &[("upload", 2), (URL, 1)]),
    (Call::Save, &[("upload_reset", 2)], Some((ErrorKind::Unavailable, "")), &[("upload", 2), (URL, 1)]),
    // Then there are two versions, of which each call sees one.
    (Call::Save, &[("upload_lost", 1)], FINE, &[("upload", 2), (URL, 1)]),
    (Call::Save, &[("upload_503", 1), ("api_503", 1)], BUSY, &[("upload", 1), (URL, 1)]),
    (
        Call::Save,
        &[("cap_exceeded", 1)],
        Some((ErrorKind::Full, "the page Caps & Alerts of the Backblaze account")),
        &[("upload", 1)],
    ),
    (Call::List, &[("api_503", 1)], BUSY, &[(LIST, 1)]),
    (Call::List, &[("api_429", 1)], Some((ErrorKind::Throttled, "too_many_requests")), &[(LIST, 1)]),
    (Call::Load, &[("download_503", 1)], BUSY, &[("download", 1)]),
    (Call::Load, &[("truncate", 1)], Some((ErrorKind::Unavailable, "")), &[("download", 1)]),
    (Call::LoadRange, &[("truncate", 1)], Some((ErrorKind::Unavailable, "")), &[("download", 1)]),
    (Call::List, &[("expire", 1)], FINE, &[(LIST, 2), (AUTHORIZE, 1), (BUCKETS, 1)]),
    (Call::Load, &[("expire", 1)], FINE, &[("download", 2), (AUTHORIZE, 1)]),
    (Call::Stat, &[("expire", 1)], FINE, &[("download", 2), (AUTHORIZE, 1)]),
    (Call::Remove, &[("expire", 1)], FINE, &[(VERSIONS, 2), (AUTHORIZE, 1), (BUCKETS, 1), (DELETE, 1)]),
    (
        Call::Save,
        &[("upload_401", 1), ("expire", 1)],
        FINE,
        &[("upload", 2), (URL, 2), (AUTHORIZE, 1), (BUCKETS, 1)],
    ),
    (
        Call::List,
        &[("expire", 2)],
        Some((ErrorKind::Unavailable, "expired_auth_token")),
        &[(LIST, 1), (AUTHORIZE, 1), (BUCKETS, 1)],
    ),
    (
        Call::Load,
        &[("expire", 1), ("authorize_401", 1)],
        Some((ErrorKind::PermissionDenied, "B2_ACCOUNT_ID")),
        &[("download", 1), (AUTHORIZE, 1)],
    ),
    (Call::Load, &[("expire", 1), ("authorize_503", 1)], BUSY, &[("download", 1), (AUTHORIZE, 1)]),
];

#[tokio::test]
async fn each_fault_is_met_as_it_should_and_at_its_price() {
    let server = Server::start(Kind::B2, Security::Plain);
    let store = b2(&server, &fresh_name());
    store.create().await.unwrap();
    for (call, faults, expected, price) in CASES {
        let case = format!("{call:?} with {faults:?}");
        Call::Remove.make(&*store).await.unwrap();
        Call::Save.make(&*store).await.unwrap();
        let before = server.b2_counts();
        server.b2_faults(faults);
        let answer = call.make(&*store).await;
        assert_eq!(counts_since(&server, &before), calls(price), "{case}: {answer:?}");
        match (answer, expected) {
            (Ok(()), None) => {}
            (Err(error), Some((kind, words))) => {
                assert_eq!(error.kind, *kind, "{case}: {error}");
                assert!(error.to_string().contains(words), "{case}: {error}");
                let asks_for_a_wait =
                    *kind == ErrorKind::Throttled && !error.to_string().contains("no tomes");
                assert_eq!(error.retry_after, asks_for_a_wait.then_some(Duration::from_secs(1)), "{case}");
            }
            (answer, _) => panic!("{case}: {answer:?}"),
        }
        let left = server.b2_faults(&[]);
        assert!(left.is_empty(), "{case} did not meet {left:?}");
    }
}

#[tokio::test]
async fn a_lock_is_removed_by_the_one_version_that_it_is_known_to_have() {
    let server = Server::start(Kind::B2, Security::Plain);
    let location = fresh_name();
    let (store, other) = (b2(&server, &location), b2(&server, &location));
    store.create().await.unwrap();
    let lock = |digit: &str| FileName::new(FileKind::Lock, &digit.repeat(64)).unwrap();
    let save = async |lock: &FileName| store.save(lock, vec![1].into()).await.unwrap();
    save(&lock("a")).await;
    save(&lock("b")).await;
    other.remove(&lock("b")).await.unwrap();
    save(&lock("c")).await;
    other.save(&lock("d"), vec![1].into()).await.unwrap();
    server.b2_faults(&[("upload_lost", 1)]);
    save(&lock("e")).await;
    save(&lock("f")).await;
    save(&lock("f")).await;
    for (case, digit, price) in [
        ("saved here", "a", &[(DELETE, 1)][..]),
        ("removed by another", "b", &[(DELETE, 1), (VERSIONS, 1)]),
        ("saved here, with a token that expires", "c", &[(DELETE, 2), (AUTHORIZE, 1)]),
        ("saved by another", "d", &[(VERSIONS, 1), (DELETE, 1), (BUCKETS, 1)]),
        ("of two versions, as an answer was lost", "e", &[(VERSIONS, 1), (DELETE, 2)]),
        ("of two versions, as it was saved twice", "f", &[(VERSIONS, 1), (DELETE, 2)]),
        ("not there", "a", &[(VERSIONS, 1)]),
    ] {
        if digit == "c" {
            server.b2_faults(&[("expire", 1)]);
        }
        let before = server.b2_counts();
        store.remove(&lock(digit)).await.unwrap();
        assert_eq!(counts_since(&server, &before), calls(price), "a lock {case}");
        let error = store.stat(&lock(digit)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "a lock {case}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_uploads_share_as_many_urls_as_go_at_once() {
    let server = Server::start(Kind::B2, Security::Plain);
    let store = b2(&server, &fresh_name());
    store.create().await.unwrap();
    let before = server.b2_counts();
    let files = (0..300).map(|number| FileName::new(FileKind::Pack, &format!("{number:064x}")).unwrap());
    let saves = files.map(|file| {
        let store = Arc::clone(&store);
        async move { store.save(&file, vec![7; 100].into()).await.unwrap() }
    });
    stream::iter(saves).buffer_unordered(5).collect::<Vec<()>>().await;
    let counts = counts_since(&server, &before);
    assert_eq!(counts["upload"], 300);
    assert!((1..=5).contains(&counts[URL]), "{counts:?}");
    assert_eq!(names(&*store).await.unwrap().len(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_calls_whose_token_expires_one_gets_another() {
    let server = Server::start(Kind::B2, Security::Plain);
    let store = b2(&server, &fresh_name());
    store.create().await.unwrap();
    names(&*store).await.unwrap();
    let before = server.b2_counts();
    server.b2_faults(&[("expire", 1)]);
    let lists = (0..5).map(|_| names(&*store));
    stream::iter(lists).buffer_unordered(5).try_collect::<Vec<_>>().await.unwrap();
    let counts = counts_since(&server, &before);
    assert_eq!((counts[AUTHORIZE], counts[BUCKETS]), (1, 1), "{counts:?}");
}

#[tokio::test]
async fn a_wrong_key_ends_it_at_once_and_is_not_shown() {
    let server = Server::start(Kind::B2, Security::Plain);
    let key = Credentials { id: "NOBODY".to_owned(), secret: "hunter2".to_owned() };
    let store = tried_again(b2_as(&server, &key, &fresh_name(), &[]));
    for call in [Call::Save, Call::Load, Call::Stat, Call::List, Call::Remove] {
        let before = server.b2_counts();
        let error = call.make(&*store).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied, "{call:?}: {error}");
        assert!(error.to_string().contains("does not let in the key"), "{error}");
        assert_eq!(counts_since(&server, &before), calls(&[(AUTHORIZE, 1)]), "{call:?}");
        assert!(!format!("{error:?}{store:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn only_create_makes_a_bucket() {
    let server = shared(Kind::B2, Security::Plain);
    let store = b2(server, &fresh_name());
    assert!(names(&*store).await.unwrap().is_empty());
    assert_eq!(Call::Load.make(&*store).await.unwrap_err().kind, ErrorKind::NotFound);
    Call::Remove.make(&*store).await.unwrap();
    let error = Call::Save.make(&*store).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains("there is no such bucket"), "{error}");

    let reader = server.user(Rights::Read);
    let error = b2_as(server, &reader, &fresh_name(), &[]).create().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("this key may not make one: the key lacks"), "{error}");

    store.create().await.unwrap();
    Call::Save.make(&*store).await.unwrap();
}

#[tokio::test]
async fn a_key_of_one_bucket_and_prefix_is_enough() {
    let server = Server::start(Kind::B2, Security::Plain);
    let bucket = fresh_name();
    let rights = ["listFiles", "readFiles", "writeFiles", "deleteFiles"];
    let key = server.b2_key(&rights, Some(&bucket), Some("a/b/"));
    let store = b2_as(&server, &key, &format!("{bucket}:a/b"), &[]);
    let before = server.b2_counts();
    store.create().await.unwrap();
    for call in [Call::Save, Call::Load, Call::Stat, Call::List, Call::Remove] {
        call.make(&*store).await.unwrap_or_else(|error| panic!("{call:?}: {error}"));
    }
    let counts = counts_since(&server, &before);
    assert!(!counts.contains_key(BUCKETS), "{counts:?}");

    let beside = b2_as(&server, &key, &format!("{bucket}:a/c"), &[]);
    let elsewhere = b2_as(&server, &key, &fresh_name(), &[]);
    for call in [Call::Save, Call::Load, Call::Stat, Call::List, Call::Remove] {
        let error = call.make(&*beside).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied, "{call:?}: {error}");
        assert!(error.to_string().contains("names that begin with a/b/ only"), "{error}");
        let error = call.make(&*elsewhere).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied, "{call:?}: {error}");
        assert!(error.to_string().contains(&format!("for the bucket {bucket} only")), "{error}");
    }
}

#[tokio::test]
async fn what_a_key_may_not_do_is_named_and_costs_nothing() {
    let server = Server::start(Kind::B2, Security::Plain);
    let bucket = fresh_name();
    let owners = b2(&server, &bucket);
    owners.create().await.unwrap();
    Call::Save.make(&*owners).await.unwrap();
    let readers = b2_as(&server, &server.user(Rights::Read), &bucket, &[]);
    readers.create().await.unwrap();
    for call in [Call::Load, Call::LoadRange, Call::Stat, Call::List] {
        call.make(&*readers).await.unwrap_or_else(|error| panic!("{call:?}: {error}"));
    }
    let strangers = b2_as(&server, &server.user(Rights::Nothing), &bucket, &[]);
    assert!(Call::List.make(&*strangers).await.is_err());
    let before = server.b2_counts();
    for (store, call, capability) in [
        (&readers, Call::Save, "writeFiles"),
        (&readers, Call::Remove, "deleteFiles"),
        (&strangers, Call::Save, "writeFiles"),
        (&strangers, Call::Load, "readFiles"),
        (&strangers, Call::Stat, "readFiles"),
        (&strangers, Call::List, "listFiles"),
        (&strangers, Call::Remove, "deleteFiles"),
    ] {
        let error = call.make(&**store).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied, "{call:?}: {error}");
        assert!(error.to_string().contains(&format!("lacks the capability {capability}")), "{error}");
    }
    assert_eq!(counts_since(&server, &before), calls(&[]));
}

#[tokio::test]
async fn a_key_that_may_not_delete_hides_and_one_that_may_deletes_all_versions() {
    let server = Server::start(Kind::B2, Security::Plain);
    let bucket = fresh_name();
    let owners = b2(&server, &bucket);
    owners.create().await.unwrap();
    let key = server.b2_key(&["listBuckets", "listFiles", "readFiles", "writeFiles"], None, None);
    let store = b2_as(&server, &key, &bucket, &[]);
    Call::Save.make(&*store).await.unwrap();
    Call::Save.make(&*store).await.unwrap();
    let before = server.b2_counts();
    Call::Remove.make(&*store).await.unwrap();
    Call::Remove.make(&*store).await.unwrap();
    assert_eq!(counts_since(&server, &before), calls(&[(HIDE, 2)]));
    assert!(names(&*store).await.unwrap().is_empty());
    assert_eq!(Call::Stat.make(&*store).await.unwrap_err().kind, ErrorKind::NotFound);
    Call::Save.make(&*store).await.unwrap();
    assert_eq!(names(&*store).await.unwrap(), [pack('a')]);

    let before = server.b2_counts();
    Call::Remove.make(&*owners).await.unwrap();
    // Three that were saved and the mark that hid two of them.
    assert_eq!(counts_since(&server, &before)[DELETE], 4);
    let before = server.b2_counts();
    Call::Remove.make(&*owners).await.unwrap();
    assert_eq!(counts_since(&server, &before), calls(&[(VERSIONS, 1)]));
}

#[tokio::test]
async fn the_services_test_mode_is_asked_for() {
    let server = Server::start(Kind::B2, Security::Plain);
    let mode = [("B2_TEST_MODE", "force_cap_exceeded")];
    let store = b2_as(&server, server.credentials(), &fresh_name(), &mode);
    store.create().await.unwrap();
    assert_eq!(Call::Save.make(&*store).await.unwrap_err().kind, ErrorKind::Full);
    assert!(server.b2_counts()["test mode force_cap_exceeded"] > 0);
}

// What the model cannot be made to say.

const AUTHORIZED: (u16, &str) = (
    200,
    r#"{"accountId":"a1","authorizationToken":"session-token",
        "apiInfo":{"storageApi":{"apiUrl":"URL","downloadUrl":"URL"}}}"#,
);

/// A store at a double that lets the key in and then answers this.
fn at_double(answers: &[(u16, &str)]) -> (Double, Arc<dyn Backend>) {
    let all = [&[AUTHORIZED], answers].concat();
    let all = all.into_iter().map(|(status, body)| (status, body.to_owned())).collect();
    let double = Double::start(all);
    let values = [("B2_ACCOUNT_ID", "id"), ("B2_ACCOUNT_KEY", "hunter2"), ("B2_API_URL", &*double.url)];
    let store = open_with("b2:bucket:p", &values, &Default::default()).unwrap();
    (double, store)
}

fn lines(double: &Double) -> Vec<String> {
    let lines = double.asked().into_iter();
    lines.map(|asked| asked.line.rsplit('/').next().unwrap().to_owned()).collect()
}

const NO_BUCKET: (u16, &str) = (200, r#"{"buckets":[]}"#);
const BUCKET: (u16, &str) = (200, r#"{"buckets":[{"bucketId":"b1","bucketName":"bucket"}]}"#);
const UPLOAD_URL: (u16, &str) = (200, r#"{"uploadUrl":"URL/upload","authorizationToken":"upload-token"}"#);

#[tokio::test]
async fn a_buckets_name_that_somebody_else_took_is_told() {
    let taken =
        (400, r#"{"status":400,"code":"duplicate_bucket_name","message":"Bucket name is already in use."}"#);
    let (double, store) = at_double(&[NO_BUCKET, taken, NO_BUCKET]);
    let error = store.create().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("taken by somebody else"), "{error}");
    assert_eq!(lines(&double), [AUTHORIZE, BUCKETS, "b2_create_bucket", BUCKETS]);
    assert!(double.asked()[2].body.contains("allPrivate"));
    // One of our own programs was faster.
    let (_, store) = at_double(&[NO_BUCKET, taken, BUCKET]);
    store.create().await.unwrap();
}

#[tokio::test]
async fn a_bucket_that_goes_is_looked_for_again() {
    let gone = (400, r#"{"status":400,"code":"bad_bucket_id","message":"bucket b1 does not exist"}"#);
    let page = (200, r#"{"files":[],"nextFileName":null}"#);
    let (double, store) = at_double(&[BUCKET, gone, AUTHORIZED, BUCKET, page]);
    for _ in 0..2 {
        assert!(names(&*store).await.unwrap().is_empty());
    }
    assert_eq!(lines(&double), [AUTHORIZE, BUCKETS, LIST, AUTHORIZE, BUCKETS, LIST]);

    let (_, store) = at_double(&[BUCKET, UPLOAD_URL, gone]);
    let error = Call::Save.make(&*store).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
}

#[tokio::test]
async fn a_refused_stat_is_explained_by_asking_for_a_byte() {
    let denied = r#"{"status":403,"code":"download_cap_exceeded","message":"Cap exceeded."}"#;
    let (double, store) = at_double(&[(403, ""), (403, denied)]);
    let error = Call::Stat.make(&*store).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    let asked: Vec<_> = double.asked().into_iter().skip(1).map(|asked| asked.line).collect();
    let name = pack('a').name().to_owned();
    let path = format!("/file/bucket/p/data/aa/{name}");
    assert_eq!(asked, [format!("HEAD {path}"), format!("GET {path}")]);
}

#[tokio::test]
async fn versions_go_from_the_oldest_to_the_newest_over_all_pages() {
    let name = format!("p/data/aa/{}", pack('a').name());
    let page = |ids: &[&str], next: &str| {
        let files: Vec<_> =
            ids.iter().map(|id| format!(r#"{{"fileId":"{id}","fileName":"{name}"}}"#)).collect();
        format!(r#"{{"files":[{}],{next}}}"#, files.join(","))
    };
    let first = page(&["v4", "v3"], &format!(r#""nextFileName":"{name}","nextFileId":"v2""#));
    let second = page(&["v2", "v1"], r#""nextFileName":null,"nextFileId":null"#);
    let missing = (400, r#"{"status":400,"code":"file_not_present","message":"file not present"}"#);
    let ok = (200, "{}");
    let (double, store) = at_double(&[BUCKET, (200, &first), (200, &second), ok, missing, ok, ok]);
    Call::Remove.make(&*store).await.unwrap();
    let asked = double.asked();
    let said: Vec<_> = asked.iter().map(|asked| &*asked.body).collect();
    assert!(said[3].contains(r#""startFileId":"v2""#), "{}", said[3]);
    let ids: Vec<_> = said[4..].iter().map(|body| body.split('"').nth(3).unwrap()).collect();
    assert_eq!(ids, ["v1", "v2", "v3", "v4"], "{said:?}");
}

#[tokio::test]
async fn a_file_that_is_locked_against_deletion_is_hidden() {
    let versions = format!(
        r#"{{"files":[{{"fileId":"v1","fileName":"p/data/aa/{}"}}],"nextFileName":null,"nextFileId":null}}"#,
        pack('a').name()
    );
    let denied = (403, r#"{"status":403,"code":"access_denied","message":"the file is locked"}"#);
    let (double, store) = at_double(&[BUCKET, (200, &versions), denied, (200, "{}")]);
    Call::Remove.make(&*store).await.unwrap();
    assert_eq!(lines(&double)[2..], [VERSIONS, DELETE, HIDE]);

    let (_, store) = at_double(&[BUCKET, (200, &versions), denied, (401, r#"{"code":"unauthorized"}"#)]);
    let error = Call::Remove.make(&*store).await.unwrap_err();
    assert!(error.to_string().contains("the file is locked"), "{error}");
}

#[tokio::test]
async fn a_body_that_arrives_altered_may_be_sent_again() {
    let altered =
        (400, r#"{"status":400,"code":"bad_request","message":"Sha1 did not match data received"}"#);
    let (_, store) = at_double(&[BUCKET, UPLOAD_URL, altered]);
    let error = Call::Save.make(&*store).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    let another = (200, r#"{"contentLength":999,"fileId":"v1"}"#);
    let (_, store) = at_double(&[BUCKET, UPLOAD_URL, another, UPLOAD_URL, another]);
    let error = Call::Save.make(&*store).await.unwrap_err();
    assert!(error.to_string().contains("another size was stored"), "{error}");
}

#[tokio::test]
async fn no_token_is_shown_even_where_b2_repeats_it() {
    let twice = r#"{"status":400,"code":"bad_request","message":"more than one upload using auth token upload-token"}"#;
    let (_, store) =
        at_double(&[BUCKET, UPLOAD_URL, (400, twice), (400, r#"{"message":"session-token","code":"x"}"#)]);
    let uploading = Call::Save.make(&*store).await.unwrap_err();
    assert!(uploading.to_string().contains("more than one upload"), "{uploading}");
    let listing = Call::List.make(&*store).await.unwrap_err();
    let shown = format!("{uploading} {uploading:?} {listing} {listing:?} {store:?}");
    for secret in ["session-token", "upload-token", "hunter2"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let (_, store) = at_double(&[BUCKET, UPLOAD_URL, (200, r#"{"contentLength":1000,"fileId":"v1"}"#)]);
    Call::Save.make(&*store).await.unwrap();
    let shown = format!("{store:?}");
    assert!(
        shown.contains("UploadUrl") && !shown.contains("token\"") && !shown.contains("upload-token"),
        "{shown}"
    );
}

#[tokio::test]
async fn an_address_that_is_not_b2s_is_no_empty_store() {
    let double = Double::start(vec![(404, "<html>".to_owned())]);
    let values = [("B2_ACCOUNT_ID", "id"), ("B2_ACCOUNT_KEY", "key"), ("B2_API_URL", &*double.url)];
    let store = open_with("b2:bucket:p", &values, &Default::default()).unwrap();
    let error = Call::Stat.make(&*store).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
    let (_, store) = at_double(&[BUCKET, (404, "<html>"), (404, "<html>")]);
    for call in [Call::Remove, Call::List] {
        let error = call.make(&*store).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Misconfigured, "{call:?}: {error}");
    }
    let values = [("B2_ACCOUNT_ID", "id"), ("B2_ACCOUNT_KEY", "key"), ("B2_API_URL", "api.example")];
    let error = open_with("b2:bucket:p", &values, &Default::default()).unwrap_err();
    assert!(error.to_string().contains("B2_API_URL"), "{error}");
}
