//! S3: the contract, and what its servers refuse.

use pillion_backend::open::Options;
use pillion_backend::retry::{Policy, Retry};
use pillion_backend::{Backend, Error, ErrorKind, FileName, conformance};
use pillion_e2e::servers::{Kind, Rights, Security, minio_is_there, shared};

use crate::scene::{fresh_name, keys, open_with, options, pack, s3, tried_again};

async fn conforms(kind: Kind, security: Security) {
    if kind == Kind::Minio && !minio_is_there() {
        println!("not run: PILLION_TEST_MINIO names no binary of MinIO");
        return;
    }
    let server = shared(kind, security);
    let checked = tokio::spawn(conformance::check(tried_again(s3(server, &fresh_name(), "demo/a b+ü"))));
    assert!(checked.await.is_ok(), "the server's last words:\n{}", server.log_end());
}

macro_rules! conformance {
    ($($name:ident: $kind:ident, $security:ident;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            conforms(Kind::$kind, Security::$security).await;
        })*
    };
}

conformance! {
    versity_holds_the_contract: Versity, Plain;
    versity_over_tls_holds_the_contract: Versity, Tls;
    seaweed_fs_holds_the_contract: SeaweedFs, Plain;
    seaweed_fs_over_tls_holds_the_contract: SeaweedFs, Tls;
    ceph_holds_the_contract: Ceph, Plain;
    ceph_over_tls_holds_the_contract: Ceph, Tls;
    minio_holds_the_contract: Minio, Plain;
    minio_over_tls_holds_the_contract: Minio, Tls;
}

#[tokio::test]
async fn what_is_refused_for_good_is_said_at_once() {
    let server = shared(Kind::Versity, Security::Plain);
    let location = format!("s3:{}/{}", server.endpoint(), fresh_name());
    let (id, secret) = (&*server.credentials().id, &*server.credentials().secret);
    for (id, secret, words) in [
        (id, "wrong", "(SignatureDoesNotMatch); look at AWS_SECRET_ACCESS_KEY"),
        ("NOBODY", secret, "(InvalidAccessKeyId); look at AWS_ACCESS_KEY_ID"),
    ] {
        let values = [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)];
        let store = open_with(&location, &values, &options(server)).unwrap();
        for error in [
            store.stat(&FileName::config()).await.unwrap_err(),
            store.load(&FileName::config(), 1).await.unwrap_err(),
            store.save(&pack('a'), vec![1].into()).await.unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
            assert!(error.to_string().contains(words), "{error}");
            assert!(!format!("{error:?}").contains(secret), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_bucket_of_somebody_else_and_a_right_that_is_missing_are_told_as_such() {
    for kind in [Kind::Versity, Kind::Ceph, Kind::SeaweedFs] {
        let server = shared(kind, Security::Plain);
        let (theirs, none) = (fresh_name(), fresh_name());
        s3(server, &theirs, "p").create().await.unwrap();
        let stranger = server.user(Rights::Nothing);
        let at = |bucket: &str| {
            let location = format!("s3:{}/{bucket}/p", server.endpoint());
            open_with(&location, &keys(&stranger), &options(server)).unwrap()
        };
        // Who may not look at a bucket may use what is in it, for all that is known.
        at(&theirs).create().await.unwrap();
        for error in [
            at(&theirs).stat(&FileName::config()).await.unwrap_err(),
            at(&theirs).load(&FileName::config(), 1).await.unwrap_err(),
            at(&theirs).save(&pack('a'), vec![1].into()).await.unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::PermissionDenied, "{kind:?}: {error}");
            let words = "; the bucket may be somebody else's, or the key lacks the right s3:";
            assert!(error.to_string().contains("AccessDenied"), "{kind:?}: {error}");
            assert!(error.to_string().contains(words), "{kind:?}: {error}");
        }
        // Some say of a bucket that is not there, too, that one may not look at it: what is stored then is refused.
        let (made, words) = match kind {
            Kind::SeaweedFs => {
                at(&none).create().await.unwrap();
                (at(&none).save(&pack('a'), vec![1].into()).await, "the key lacks the right s3:PutObject")
            }
            _ => (at(&none).create().await, "this key may not make one: "),
        };
        let error = made.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied, "{kind:?}: {error}");
        assert!(error.to_string().contains(words), "{kind:?}: {error}");
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_given() {
    let server = shared(Kind::Versity, Security::Tls);
    let location = format!("s3:{}/{}", server.endpoint(), fresh_name());
    let store = |options: &Options| open_with(&location, &keys(server.credentials()), options).unwrap();
    let not_again = Box::new(|error: &Error, _| panic!("tried again: {error}"));
    let stranger = Retry::new(store(&Options::default()), Policy::default(), not_again);
    for error in [
        stranger.create().await.unwrap_err(),
        stranger.stat(&pack('a')).await.unwrap_err(),
        stranger.save(&pack('a'), vec![1].into()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
        assert!(error.to_string().contains("a private authority is trusted through CA_CERT_DATA"), "{error}");
    }
    let trusting = tried_again(store(&options(server)));
    trusting.create().await.unwrap();
    trusting.save(&pack('a'), vec![1].into()).await.unwrap();
    let careless = tried_again(store(&Options { insecure_tls: true, ..Options::default() }));
    assert_eq!(careless.load(&pack('a'), 1).await.unwrap(), vec![1]);
}
