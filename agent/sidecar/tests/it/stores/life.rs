//! Made, filled, checked, restored by both programs, and emptied again.

use std::process::Stdio;
use std::sync::Arc;

use futures_util::TryStreamExt;
use pillion::access::StoreAccess;
use pillion::environment::Environment;
use pillion::open::{Connection, Ears, open_backend};
use pillion_backend::location::Location;
use pillion_backend::{Backend, FileKind};
use pillion_e2e::servers::{Kind, Security, minio_is_there, shared};

use super::{Store, assert_same};
use crate::scene::{Printed, Scene, numbers};

fn whole_life(kind: Kind, security: Security) {
    let (scene, store) = (Scene::new(), Store::new(shared(kind, security)));
    let source = scene.source();
    let backup = ["backup", source.to_str().unwrap()];
    assert!(store.fails(&scene, 10, &["snapshots"]).contains("there is no repository"));
    store.ok(&scene, &["init"]);
    store.ok(&scene, &backup);
    std::fs::write(source.join("sub/numbers"), numbers(310_000)).unwrap();
    std::fs::write(source.join("new"), "new\n").unwrap();
    store.ok(&scene, &backup);
    std::fs::remove_file(source.join("a.txt")).unwrap();
    store.ok(&scene, &backup);

    store.ok(&scene, &["check", "--read-data"]);
    store.restic(&["check", "--read-data"]);
    assert_eq!(store.restic(&["snapshots", "--json"]).matches("\"tree\"").count(), 3);
    for (name, restore) in [("by-pillion", Restore::Pillion), ("by-restic", Restore::Restic)] {
        let target = scene.path(name);
        let arguments = ["restore", "latest", "--target", target.to_str().unwrap()];
        match restore {
            Restore::Pillion => store.ok(&scene, &arguments),
            Restore::Restic => store.restic(&arguments),
        };
        assert_same(&source, &target.join(source.strip_prefix("/").unwrap()));
    }
    // And the other way round.
    std::fs::write(source.join("of-restic"), "of restic\n").unwrap();
    store.restic(&backup);
    let target = scene.path("of-restic");
    store.ok(&scene, &["restore", "latest", "--target", target.to_str().unwrap()]);
    assert_same(&source, &target.join(source.strip_prefix("/").unwrap()));

    remove_everything(&store);
    assert!(store.fails(&scene, 10, &["snapshots"]).contains("there is no repository"));
}

enum Restore {
    Pillion,
    Restic,
}

fn remove_everything(store: &Store) {
    let environment: Environment = store.variables().into_iter().collect();
    let location = Location::parse(&store.location()).unwrap();
    let access = StoreAccess::of_environment(&location, &environment).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let backend: Arc<dyn Backend> =
        open_backend(&location, &access, &Connection::default(), &Arc::default(), Box::new(|_, _| {}))
            .unwrap();
    runtime.block_on(async {
        for kind in FileKind::ALL {
            let entries: Vec<_> = backend.list(kind).try_collect().await.unwrap();
            assert!(!entries.is_empty() || kind == FileKind::Lock, "no {kind:?} is stored");
            for entry in entries {
                backend.remove(&entry.file).await.unwrap();
            }
            let left: Vec<_> = backend.list(kind).try_collect().await.unwrap();
            assert!(left.is_empty(), "{left:?}");
        }
    });
}

macro_rules! lives {
    ($($name:ident: $kind:ident, $security:ident;)*) => {
        $(#[test]
        fn $name() {
            whole_life(Kind::$kind, Security::$security);
        })*
    };
}

lives! {
    a_life_in_versity: Versity, Plain;
    a_life_in_versity_over_tls: Versity, Tls;
    a_life_in_seaweed_fs: SeaweedFs, Plain;
    a_life_in_seaweed_fs_over_tls: SeaweedFs, Tls;
    a_life_in_ceph: Ceph, Plain;
    a_life_in_ceph_over_tls: Ceph, Tls;
    a_life_in_azure: Azurite, Plain;
    a_life_in_azure_over_tls: Azurite, Tls;
    a_life_in_b2: B2, Plain;
    a_life_in_b2_over_tls: B2, Tls;
}

/// As the programs stack them: retries, the bound on calls at once, counts, and bounds on bytes a second that are reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_the_wrappers_together_hold_the_contract() {
    let store = Store::new(shared(Kind::Versity, Security::Plain));
    let environment: Environment = store.variables().into_iter().collect();
    let location = Location::parse(&store.location()).unwrap();
    let access = StoreAccess::of_environment(&location, &environment).unwrap();
    let limit = "32768".parse().unwrap();
    let connection = Connection { upload_limit: limit, download_limit: limit, ..Connection::default() };
    let ears = Ears::default();
    let backend = open_backend(&location, &access, &connection, &ears, Box::new(|_, _| {})).unwrap();
    pillion_backend::conformance::check(backend).await;
    let counts = ears.counts.to_string();
    assert!(counts.contains("save pack"), "{counts}");
    assert!(ears.clock.seconds_ahead().is_some(), "each answer has a date");
}

/// No registry has MinIO: it is asked where `PILLION_TEST_MINIO` names it.
#[test]
fn a_life_in_minio_where_there_is_one() {
    if minio_is_there() {
        whole_life(Kind::Minio, Security::Plain);
        whole_life(Kind::Minio, Security::Tls);
    }
}

/// Versity decides who is first; B2 cannot, and the smallest key does.
#[test]
fn of_several_who_init_at_once_one_makes_the_repository() {
    for kind in [Kind::Versity, Kind::B2] {
        let (scene, store) = (Scene::new(), Store::new(shared(kind, Security::Plain)));
        let started: Vec<_> = (0..4)
            .map(|_| {
                store
                    .command(&scene, &["init"])
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let ended: Vec<Printed> =
            started.into_iter().map(|child| child.wait_with_output().unwrap().into()).collect();
        let winners = ended.iter().filter(|printed| printed.code == 0).count();
        let told: String = ended.iter().map(|printed| printed.err.as_str()).collect();
        assert_eq!(winners, 1, "{kind:?}: {told}");
        store.ok(&scene, &["backup", scene.source().to_str().unwrap()]);
        store.restic(&["check", "--read-data"]);
    }
}
