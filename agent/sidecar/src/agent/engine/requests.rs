//! What a run asks of the store, call by call: each costs a round trip, and with some stores money.

use std::sync::Arc;

use pillion_backend::fault::Fault;
use pillion_backend::location::Location;
use pillion_backend::mem::Mem;
use pillion_repository::repository::Creator;
use pillion_repository::source::script::Script;

use super::tests::{self, credentials};
use chrono::Utc;

use super::*;
use crate::agent::config::raw::Raw;

/// An agent, its store and its source.
struct Scene {
    directory: tempfile::TempDir,
    store: Mem,
    faulty: Arc<Fault<Mem>>,
    script: Arc<Script>,
    kept: Kept,
}

impl Scene {
    fn new() -> Self {
        let store = Mem::new();
        let scene = Self {
            directory: tempfile::tempdir().unwrap(),
            faulty: Arc::new(Fault::new(store.clone())),
            store,
            script: Script::new(),
            kept: Kept::new(Environment::default()),
        };
        scene.script.file("/data/a", b"some bytes").file("/data/dir/b", b"others");
        scene.job("x", |access| {
            let way = scene.way();
            let creator = Creator { hostname: "host".to_owned(), username: "user".to_owned() };
            repository::init(&access.store(&way), b"x", &creator, access.settings()).unwrap();
        });
        scene.take_the_way();
        scene
    }

    /// The agent that a restarted process is: what is on the disk is all it has.
    fn restart(&mut self) {
        self.kept = Kept::new(Environment::default());
        self.take_the_way();
    }

    fn config(&self) -> Config {
        let cache = self.directory.path().join("cache");
        let yaml = format!(
            "{{repository: /store, sources: /data, cacheDir: {}, schedule: '@daily', identity: shop/db}}",
            cache.display()
        );
        Config::resolve(Raw::from_yaml(&yaml).unwrap()).unwrap()
    }

    fn way(&self) -> Way {
        let backend = Arc::clone(&self.faulty) as Arc<dyn pillion_backend::Backend>;
        Way::new(&self.config(), &credentials("x"), backend)
    }

    /// Makes the next job come to the store of the test.
    fn take_the_way(&self) {
        self.kept.put_way(self.way());
    }

    fn job<T>(&self, password: &str, work: impl FnOnce(&Access<'_>) -> T) -> T {
        let runtime = crate::cli::session::runtime().unwrap();
        let (config, credentials) = (self.config(), credentials(password));
        let (cancel, runtime) = (CancellationToken::new(), runtime.handle().clone());
        let (kept, watch) = (&self.kept, Watch::new(&config, self.kept.counts(), Arc::default()));
        work(&Access { config: &config, credentials: &credentials, cancel, runtime, kept, watch: &watch })
    }

    fn look(&self) -> Result<Option<DateTime<Utc>>, Refusal> {
        self.job("x", tests::newest)
    }

    /// Runs, and names the calls in their order. What calls are about is named by its kind alone.
    fn run(&self) -> Vec<String> {
        self.faulty.forget_calls();
        let environment = Environment::default();
        let process = Process::current(&environment);
        let end = self.job("x", |access| {
            let plan = &access.config.plans[0];
            let mut options = access.options(plan, &process, &environment).unwrap();
            options.source_paths = SourcePaths::Scripted(Arc::clone(&self.script));
            access.back_up(plan, options, &process, &Progress::default()).unwrap()
        });
        assert_eq!((end.outcome, end.message.as_str()), (Outcome::Complete, ""));
        let named = |call: pillion_backend::fault::Call| {
            let kind = call.kind.map_or("store", pillion_backend::FileKind::noun);
            format!("{} {kind}", call.operation)
        };
        self.faulty.forget_calls().into_iter().map(named).collect()
    }
}

const UNCHANGED: [&str; 8] = [
    "load config",
    "list lock",
    "save lock",
    "list snapshot",
    "list index",
    "list lock",
    "save snapshot",
    "remove lock",
];

#[test]
fn an_unchanged_run_costs_eight_requests() {
    let scene = Scene::new();
    scene.run();
    for _ in 0..3 {
        assert_eq!(scene.run(), UNCHANGED);
    }
    // A look leaves the repository open for the run after it.
    scene.look().unwrap();
    assert_eq!(scene.run(), UNCHANGED);
}

#[test]
fn a_changed_file_costs_the_packs_and_the_index_that_name_it() {
    let scene = Scene::new();
    scene.run();
    scene.script.advance(10);
    scene.script.write("/data/a", b"changed bytes");
    let [first @ .., _, _] = UNCHANGED;
    let [.., snapshot, unlock] = UNCHANGED;
    let stored = ["save pack", "save pack", "save index"];
    assert_eq!(scene.run(), [&first[..], &stored, &[snapshot, unlock]].concat());
    assert_eq!(scene.run(), UNCHANGED);
}

#[test]
fn a_restarted_agent_finds_the_key_and_has_the_rest() {
    let mut scene = Scene::new();
    scene.run();
    scene.restart();
    let [config, rest @ ..] = UNCHANGED;
    assert_eq!(scene.run(), [&[config, "list key", "load key"], &rest[..]].concat());
    assert_eq!(scene.run(), UNCHANGED);
}

#[test]
fn a_new_cache_costs_what_is_listed_and_one_request_for_all_the_trees() {
    let scene = Scene::new();
    scene.run();
    std::fs::remove_dir_all(scene.directory.path().join("cache/repositories")).unwrap();
    let mut calls = scene.run();
    let has = |calls: &[String], call: &str| calls.iter().filter(|one| *one == call).count();
    for once in ["load snapshot", "load index", "load pack"] {
        assert_eq!(has(&calls, once), 1, "{once}: {calls:?}");
        calls.retain(|call| call != once);
    }
    assert_eq!(calls, UNCHANGED);
}

#[test]
fn whatever_else_leads_to_a_store_is_another_way() {
    let scene = Scene::new();
    let (config, own) = (scene.config(), credentials("x"));
    let elsewhere = Config { repository: Location::parse("/other").unwrap(), ..config.clone() };
    let mut slower = config.clone();
    slower.connection.upload_limit = "1".parse().unwrap();
    let mut trusting = own.clone();
    trusting.access.ca_certificates = b"another authority".to_vec();
    for (config, credentials, is_same) in [
        (&config, &own, true),
        (&elsewhere, &own, false),
        (&slower, &own, false),
        (&config, &trusting, false),
        (&config, &credentials("y"), false),
    ] {
        scene.take_the_way();
        assert_eq!(scene.kept.take_way(config, credentials).is_some(), is_same);
        assert!(
            scene.kept.take_way(&scene.config(), &own).is_none(),
            "it is the job's, or of no use any more"
        );
    }
}

#[test]
fn another_config_in_the_store_opens_the_repository_anew() {
    let scene = Scene::new();
    scene.run();
    let config = pillion_backend::FileName::config();
    let own = scene.store.files()[&config].clone();
    let look = || scene.look().map_err(|refusal| RunEnd::from(refusal).message);
    scene.store.put_raw(&config, Scene::new().store.files()[&config].clone());
    let refused = look().unwrap_err();
    assert!(refused.contains("does not open the config"), "{refused}");
    scene.store.remove_raw(&config);
    scene.take_the_way();
    assert!(look().unwrap_err().starts_with("repository replaced: there is none"));
    scene.store.put_raw(&config, own);
    scene.take_the_way();
    assert!(look().unwrap().is_some());
    assert_eq!(scene.run(), UNCHANGED);
}
