//! What networks and stores do on a bad day, each with what has to come of it and how often the store is asked.
//!
//! A real server behind a proxy that follows a script. The waits between tries are short here; how long they are in
//! life is the business of the tests of `retry`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pillion_backend::limit::Limited;
use pillion_backend::open::{Options, Rate};
use pillion_backend::retry::{Policy, Retry};
use pillion_backend::{Backend, Body, Error, ErrorKind, FileName};
use pillion_e2e::proxy::{Asked, Fault, Proxy};
use pillion_e2e::servers::{Kind, Rights, Security, shared};

use crate::scene::{fresh_name, keys, open_with, options, pack, tried_again};

const IDLE: Duration = Duration::from_millis(300);

struct Scene {
    proxy: Proxy,
    store: Retry<Limited<Arc<dyn Backend>>>,
}

impl Scene {
    /// A store with a pack of 100,000 bytes in it.
    async fn new() -> Self {
        let server = shared(Kind::Versity, Security::Plain);
        let proxy = Proxy::start(server.endpoint());
        let location = format!("s3:{}/{}/p", proxy.endpoint(), fresh_name());
        let opened = open_with(
            &location,
            &keys(server.credentials()),
            &Options { idle_timeout: IDLE, ..options(server) },
        )
        .unwrap();
        let policy = Policy { tries_max: 5, first_delay: Duration::from_millis(20), ..Policy::default() };
        let store = Retry::new(Limited::new(opened), policy, Box::new(|_, _| {}));
        store.create().await.unwrap();
        store.save(&pack('a'), Body::from(content())).await.unwrap();
        proxy.forget();
        Self { proxy, store }
    }

    /// The first `times` requests come to grief.
    fn first(&self, times: usize, fault: Fault) {
        let count = AtomicUsize::new(0);
        self.proxy.forget();
        self.proxy.set(move |_| (count.fetch_add(1, Ordering::Relaxed) < times).then(|| fault.clone()));
    }

    fn requests(&self) -> usize {
        self.proxy.asked().len()
    }

    /// Loads the pack, which has to work.
    async fn load(&self) {
        assert_eq!(self.store.load(&pack('a'), 100_000).await.unwrap(), content());
    }
}

fn content() -> Vec<u8> {
    (0..100_000_u32).map(|n| (n % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again_until_it_has_passed() {
    let scene = Scene::new().await;
    for fault in [
        Fault::s3(503, "SlowDown"),
        Fault::s3(500, "InternalError"),
        Fault::answer(504, "<html>a proxy's page</html>"),
        Fault::s3(400, "RequestTimeout"),
        Fault::s3(409, "OperationAborted"),
        Fault::Reset,
        Fault::LoseAnswer,
        Fault::Stall,
    ] {
        scene.first(2, fault.clone());
        scene.store.save(&pack('b'), Body::from(content())).await.unwrap();
        assert_eq!(scene.requests(), 3, "save through {fault:?}");
        scene.first(2, fault.clone());
        scene.load().await;
        assert_eq!(scene.requests(), 3, "load through {fault:?}");
    }
    for fault in [Fault::Truncate(50_000), Fault::StallBody(50_000), Fault::Truncate(0)] {
        scene.first(2, fault.clone());
        scene.load().await;
        assert_eq!(scene.requests(), 3, "load through {fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_says_when_to_come_back_is_obeyed() {
    let scene = Scene::new().await;
    scene.first(1, Fault::s3(429, "TooManyRequests").with_header("Retry-After", "1"));
    scene.load().await;
    let asked = scene.proxy.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(1));
    assert!(scene.store.inner().allowed() < scene.store.max_connections(), "it was busy");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_wrong_is_said_at_once_with_its_cause() {
    let scene = Scene::new().await;
    let skew = Fault::s3(403, "RequestTimeTooSkewed").with_header("Date", "Sat, 21 Nov 2026 10:00:00 GMT");
    for (fault, kind, words) in [
        (skew, ErrorKind::PermissionDenied, "the store's clock says Sat, 21 Nov 2026 10:00:00 GMT"),
        (Fault::s3(400, "ExpiredToken"), ErrorKind::PermissionDenied, "ExpiredToken"),
        (Fault::s3(403, "InvalidAccessKeyId"), ErrorKind::PermissionDenied, "InvalidAccessKeyId"),
        (Fault::s3(403, "AccessDenied"), ErrorKind::PermissionDenied, "AccessDenied"),
        (Fault::s3(403, "QuotaExceeded"), ErrorKind::Full, "QuotaExceeded"),
        (Fault::s3(507, "XMinioStorageFull"), ErrorKind::Full, "XMinioStorageFull"),
        (Fault::s3(400, "XMinioAdminBucketQuotaExceeded"), ErrorKind::Full, "BucketQuotaExceeded"),
        (Fault::s3(404, "NoSuchBucket"), ErrorKind::Misconfigured, "no such bucket"),
        (Fault::s3(400, "InvalidArgument"), ErrorKind::Misconfigured, "InvalidArgument"),
    ] {
        scene.first(usize::MAX, fault.clone());
        let error = scene.store.save(&pack('b'), Body::from(content())).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(scene.requests(), 1, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_elsewhere_is_found_and_then_asked_there() {
    let region_of = |asked: &Asked| {
        let scope = asked.header("authorization").unwrap().split('/').collect::<Vec<_>>();
        scope[2].to_owned()
    };
    let malformed = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; \
                     expecting 'eu-central-1'</Message><Region>eu-central-1</Region></Error>";
    let moved = Fault::s3(301, "PermanentRedirect").with_header("x-amz-bucket-region", "eu-central-1");
    for elsewhere in [Fault::answer(400, malformed), moved] {
        let scene = Scene::new().await;
        scene.proxy.set(move |asked| {
            let is_right = asked.header("authorization").unwrap().contains("/eu-central-1/s3/");
            // The server behind has one region and would refuse the other.
            Some(if is_right { Fault::answer(200, "found") } else { elsewhere.clone() })
        });
        for _ in 0..2 {
            assert_eq!(scene.store.load(&pack('a'), 100).await.unwrap(), "found");
        }
        let regions: Vec<_> = scene.proxy.asked().iter().map(region_of).collect();
        assert_eq!(regions, ["us-east-1", "eu-central-1", "eu-central-1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_whose_answer_was_lost_is_ours_and_another_ones_is_not() {
    let scene = Scene::new().await;
    scene.first(1, Fault::LoseAnswer);
    scene.store.save_new(&FileName::config(), Body::from(vec![1])).await.unwrap();
    scene.first(1, Fault::s3(409, "ConditionalRequestConflict"));
    let error = scene.store.save_new(&FileName::config(), Body::from(vec![2])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error}");
    assert_eq!(scene.store.load(&FileName::config(), 1).await.unwrap(), vec![1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_head_is_explained_by_asking_again() {
    let scene = Scene::new().await;
    scene.first(usize::MAX, Fault::s3(403, "InvalidAccessKeyId"));
    let error: Error = scene.store.stat(&pack('a')).await.unwrap_err();
    assert!(error.to_string().contains("InvalidAccessKeyId"), "{error}");
    let methods: Vec<_> = scene.proxy.asked().into_iter().map(|asked| asked.method).collect();
    assert_eq!(methods, ["HEAD", "GET"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_what_it_says_is_never_stored() {
    let server = shared(Kind::Versity, Security::Plain);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("body");
    let slowly = Options { upload_limit: Rate::new(1 << 20), ..options(server) };
    let location = format!("s3:{}/{}", server.endpoint(), fresh_name());
    let store = open_with(&location, &keys(server.credentials()), &slowly).unwrap();
    store.create().await.unwrap();
    let body = |size_bytes, sha256| Body::File { path: path.clone().into(), size_bytes, sha256 };
    let refused = async |body| {
        let error = store.save(&pack('c'), body).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnusableBody, "{error}");
        assert_eq!(store.stat(&pack('c')).await.unwrap_err().kind, ErrorKind::NotFound);
    };
    std::fs::write(&path, "body").unwrap();
    refused(body(3, None)).await;
    refused(body(5, None)).await;
    // What the caller knows is what the store is told, and the store finds other bytes.
    refused(body(4, Some([7; 32]))).await;

    std::fs::write(&path, vec![1; 4 << 20]).unwrap();
    let cut = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        std::fs::File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
    };
    tokio::join!(refused(body(4 << 20, None)), cut);
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_told_with_one_request() {
    let server = shared(Kind::Ceph, Security::Plain);
    let limited = server.user(Rights::Quota { bytes: 1 << 20 });
    let proxy = Proxy::start(server.endpoint());
    let location = format!("s3:{}/{}", proxy.endpoint(), fresh_name());
    let store = tried_again(open_with(&location, &keys(&limited), &options(server)).unwrap());
    store.create().await.unwrap();
    store.save(&pack('a'), Body::from(vec![1; 1000])).await.unwrap();
    proxy.forget();
    let error = store.save(&pack('b'), Body::from(vec![1; 2 << 20])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    assert!(error.to_string().contains("QuotaExceeded"), "{error}");
    assert_eq!(proxy.asked().len(), 1);
    // What is there can be read, and removed to make room.
    assert_eq!(store.load(&pack('a'), 1000).await.unwrap(), vec![1; 1000]);
    store.remove(&pack('a')).await.unwrap();
}
