//! S3: the contract, and what its servers refuse.

use pillion_backend::{ErrorKind, FileName, conformance};
use pillion_e2e::servers::{Kind, Security, shared};

use crate::scene::{fresh_name, open_with, options, pack, s3, tried_again};

async fn conforms(kind: Kind, security: Security) {
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
}

#[tokio::test]
async fn what_is_refused_for_good_is_said_at_once() {
    let server = shared(Kind::Versity, Security::Plain);
    let location = format!("s3:{}/{}", server.endpoint(), fresh_name());
    let (id, secret) = (&*server.credentials().id, &*server.credentials().secret);
    for (id, secret, words) in
        [(id, "wrong", "SignatureDoesNotMatch"), ("NOBODY", secret, "InvalidAccessKeyId")]
    {
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
