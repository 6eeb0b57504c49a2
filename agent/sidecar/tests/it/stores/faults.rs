//! The programs on a bad day of their store: what passes is ridden out, what stays is said at once.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pillion_e2e::proxy::{Fault, Proxy};
use pillion_e2e::servers::{Kind, Rights, Security, shared};

use super::{Store, assert_same};
use crate::scene::Scene;
use crate::sources::signal;

/// A store behind a proxy, and a source of many packs.
struct Bad {
    scene: Scene,
    proxy: Proxy,
    store: Store,
    source: PathBuf,
}

impl Bad {
    fn new(source_bytes: usize) -> Self {
        let server = shared(Kind::Versity, Security::Plain);
        let proxy = Proxy::start(server.endpoint());
        let (scene, store) = (Scene::new(), Store::behind(server, &proxy.endpoint()));
        let source = scene.path("large");
        std::fs::create_dir(&source).unwrap();
        let mut random = fastrand::Rng::with_seed(4);
        for name in ["a", "b", "c"] {
            let mut bytes = vec![0; source_bytes / 3];
            random.fill(&mut bytes);
            std::fs::write(source.join(name), bytes).unwrap();
        }
        Self { scene, proxy, store, source }
    }

    fn backup(&self) -> [&str; 4] {
        ["backup", "--pack-size", "4", self.source.to_str().unwrap()]
    }

    /// What is stored is whole, as both programs see it past the proxy.
    fn assert_whole(&self) {
        self.proxy.heal();
        self.store.restic(&["check", "--read-data"]);
        let target = self.scene.path("target");
        self.store.ok(&self.scene, &["restore", "latest", "--target", target.to_str().unwrap()]);
        assert_same(&self.source, &target.join(self.source.strip_prefix("/").unwrap()));
    }
}

#[test]
fn a_backup_through_five_percent_of_faults_ends_complete() {
    let bad = Bad::new(48 << 20);
    let struck = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&struck);
    let random = std::sync::Mutex::new(fastrand::Rng::with_seed(5));
    bad.proxy.set(move |_| {
        let mut random = random.lock().unwrap();
        if random.u32(..100) >= 5 {
            return None;
        }
        count.fetch_add(1, Ordering::Relaxed);
        let faults = [
            Fault::s3(503, "SlowDown"),
            Fault::s3(500, "InternalError"),
            Fault::s3(400, "RequestTimeout"),
            Fault::s3(409, "OperationAborted"),
            Fault::s3(429, "TooManyRequests").with_header("Retry-After", "1"),
            Fault::Reset,
            Fault::LoseAnswer,
            Fault::Truncate(10),
        ];
        random.choice(faults)
    });
    bad.store.ok(&bad.scene, &["init"]);
    for round in 0..4 {
        std::fs::write(bad.source.join("round"), [round; 1000]).unwrap();
        bad.store.ok(&bad.scene, &bad.backup());
    }
    bad.store.ok(&bad.scene, &["check", "--read-data"]);
    assert!(struck.load(Ordering::Relaxed) >= 3, "the day was not bad: {struck:?} faults");
    bad.assert_whole();
}

#[test]
fn a_bit_that_is_flipped_on_its_way_is_asked_for_again() {
    let bad = Bad::new(12 << 20);
    bad.store.ok(&bad.scene, &["init"]);
    bad.store.ok(&bad.scene, &bad.backup());
    for folder in ["/data/", "/snapshots/", "/index/", "/keys/"] {
        let flipped = AtomicUsize::new(0);
        bad.proxy.forget();
        bad.proxy.set(move |asked| {
            let is_meant = asked.method == "GET" && asked.target.contains(folder);
            (is_meant && !asked.target.contains("list-type") && flipped.fetch_add(1, Ordering::Relaxed) == 0)
                .then_some(Fault::FlipBit(50))
        });
        let target = bad.scene.path(&folder.replace('/', ""));
        bad.store.ok(&bad.scene, &["restore", "latest", "--target", target.to_str().unwrap()]);
        assert_same(&bad.source, &target.join(bad.source.strip_prefix("/").unwrap()));
    }
    bad.proxy.set(|asked| asked.target.contains("/data/").then_some(Fault::FlipBit(50)));
    assert!(bad.store.fails(&bad.scene, 1, &["check", "--read-data"]).contains("damaged"));
}

/// Of a store that is away for as long as `PILLION_TEST_OUTAGE_SECONDS` says: `make test-slow` says two minutes.
#[test]
fn an_outage_in_the_middle_of_a_backup_is_ridden_out() {
    let seconds = std::env::var("PILLION_TEST_OUTAGE_SECONDS");
    let outage = Duration::from_secs(seconds.map_or(4, |text| text.parse().unwrap()));
    let bad = Bad::new(48 << 20);
    bad.store.ok(&bad.scene, &["init"]);
    bad.proxy.forget();
    let packs = AtomicUsize::new(0);
    let away_until = std::sync::Mutex::new(None);
    bad.proxy.set(move |asked| {
        let is_pack = asked.method == "PUT" && asked.target.contains("/data/");
        let mut away_until = away_until.lock().unwrap();
        if is_pack && packs.fetch_add(1, Ordering::Relaxed) == 4 {
            *away_until = Some(Instant::now() + outage);
        }
        away_until.is_some_and(|until| Instant::now() < until).then_some(Fault::Reset)
    });
    let printed = bad.store.run(&bad.scene, &bad.backup());
    assert_eq!(printed.code, 0, "{}{}", printed.out, printed.err);
    assert!(printed.err.contains("trying again in"), "the outage is told: {}", printed.err);
    let asked = bad.proxy.asked();
    let whole = asked.last().unwrap().at - asked[0].at;
    assert!(whole >= outage, "the backup went on after {whole:?}");
    bad.assert_whole();
}

#[test]
fn a_backup_killed_at_any_request_leaves_what_was_there_and_the_next_one_is_whole() {
    let bad = Bad::new(36 << 20);
    bad.store.ok(&bad.scene, &["init"]);
    bad.store.ok(&bad.scene, &["backup", bad.scene.source().to_str().unwrap()]);
    let mut killed = 0;
    for last_request in [2, 5, 7, 8, 9, 10, 12] {
        let process = Arc::new(std::sync::Mutex::new(None));
        let (victim, count) = (Arc::clone(&process), AtomicUsize::new(0));
        bad.proxy.set(move |_| {
            // Waits until the process is known.
            let victim = victim.lock().unwrap();
            if count.fetch_add(1, Ordering::Relaxed) == last_request {
                signal(victim.expect("it asks"), "KILL");
            }
            None
        });
        let mut locked = process.lock().unwrap();
        let mut child = bad.store.command(&bad.scene, &bad.backup()).spawn().unwrap();
        *locked = Some(child.id());
        drop(locked);
        killed += usize::from(child.wait().unwrap().code().is_none());
        bad.proxy.heal();
        bad.store.ok(&bad.scene, &["unlock", "--remove-all"]);
        bad.store.restic(&["check", "--read-data"]);
    }
    assert!(killed >= 5, "{killed} of the runs were killed");
    bad.store.ok(&bad.scene, &bad.backup());
    bad.assert_whole();
}

#[test]
fn what_stays_wrong_ends_a_backup_at_once_with_its_cause() {
    let bad = Bad::new(3000);
    let server = shared(Kind::Versity, Security::Plain);
    let owner = server.credentials().clone();
    let stranger = server.user(Rights::Nothing);
    let check = |id: &str, secret: &str, code, words: &str, requests_max| {
        bad.proxy.forget();
        let mut command: Command = bad.store.command(&bad.scene, &bad.backup());
        let printed: crate::scene::Printed = command
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .output()
            .unwrap()
            .into();
        crate::scene::check_failure(&printed, code, words);
        assert!(printed.err.contains(words), "{}", printed.err);
        assert!(!printed.err.contains(secret), "{}", printed.err);
        let asked = bad.proxy.asked();
        assert!(asked.len() <= requests_max, "{} requests: {asked:?}", asked.len());
    };
    check(&owner.id, &owner.secret, 10, "there is no such bucket", 1);
    check("NOBODY", &owner.secret, 1, "InvalidAccessKeyId", 1);
    check(&owner.id, "not-the-secret", 1, "SignatureDoesNotMatch", 1);
    bad.store.ok(&bad.scene, &["init"]);
    check(&stranger.id, &stranger.secret, 1, "AccessDenied", 1);
    bad.proxy.set(|asked| (asked.method == "PUT").then(|| Fault::s3(403, "QuotaExceeded")));
    check(&owner.id, &owner.secret, 1, "no space left", 10);
}
