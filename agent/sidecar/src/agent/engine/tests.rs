//! The resident engine against repositories in directories.

use std::fs;
use std::path::PathBuf;

use chrono::Utc;
use pillion_backend::location::Location;

use super::pin::{Accepted, Reach};
use super::*;
use crate::agent::config::raw::Raw;
use crate::agent::queue::Queued;
use crate::agent::record::Work;
use crate::agent::trigger::Trigger;

mod hangs;

struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("source")).unwrap();
        fs::write(directory.path().join("source/file"), b"content").unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    fn config(&self) -> Arc<Config> {
        let yaml = format!(
            "{{repository: {}, sources: {}, cacheDir: {}, schedule: '@daily', identity: shop/db, tags: [t]}}",
            self.path("repository").display(),
            self.path("source").display(),
            self.path("cache").display(),
        );
        Arc::new(Config::resolve(Raw::from_yaml(&yaml).unwrap()).unwrap())
    }

    fn job<T>(&self, work: impl FnOnce(&Access<'_>) -> T) -> T {
        job_of(&self.config(), work)
    }

    fn run(&self) -> RunEnd {
        let engine = Resident::new(Environment::default());
        let runtime = crate::cli::session::runtime().unwrap();
        runtime.block_on(engine.run(first(self.config()), CancellationToken::new()))
    }

    fn newest(&self) -> Result<Option<DateTime<Utc>>, Refusal> {
        self.job(newest)
    }

    fn snapshots(&self) -> Vec<Snapshot> {
        self.job(|access| {
            let opened = access.open(&access.way().unwrap()).unwrap();
            opened.load_snapshots().unwrap().0.into_iter().map(|(_, snapshot)| snapshot).collect()
        })
    }
}

fn job_of<T>(config: &Config, work: impl FnOnce(&Access<'_>) -> T) -> T {
    job_with("x", config, work)
}

fn job_with<T>(password: &str, config: &Config, work: impl FnOnce(&Access<'_>) -> T) -> T {
    let runtime = crate::cli::session::runtime().unwrap();
    let (credentials, cancel) = (credentials(password), CancellationToken::new());
    let (kept, runtime) = (Kept::new(Environment::default()), runtime.handle().clone());
    let watch = Watch::new(config, kept.counts(), Arc::default());
    work(&Access { config, credentials: &credentials, cancel, runtime, kept: &kept, watch: &watch })
}

pub(super) fn credentials(password: &str) -> Credentials {
    let environment = Environment::from_iter([("RESTIC_PASSWORD", password)]);
    let local = Location::Local("/r".into());
    crate::agent::config::secret::load(Path::new("/nonexistent"), &environment, &local).unwrap()
}

/// What the engine is asked for first.
fn first(config: Arc<Config>) -> RunRequest {
    let (work, trigger, requested_at) = (Work::default(), Trigger::First, Utc::now());
    let queued = Queued { number: 1, work, trigger, joined: 0, requested_at };
    RunRequest { queued, config, credentials: credentials("x"), progress: Arc::default() }
}

/// That of the only plan.
pub(super) fn newest(access: &Access<'_>) -> Result<Option<DateTime<Utc>>, Refusal> {
    access.newest_snapshots().map(|newest| newest[0].1)
}

fn back_up_with(access: &Access<'_>, environment: &Environment) -> Result<RunEnd, Refusal> {
    let (plan, process) = (&access.config.plans[0], Process::current(environment));
    let options = access.options(plan, &process, environment)?;
    access.back_up(plan, options, &process, &Progress::default())
}

fn back_up(config: &Config) -> RunEnd {
    job_of(config, |access| back_up_with(access, &Environment::default()).unwrap())
}

#[test]
fn the_first_run_makes_the_repository_and_later_ones_use_it() {
    let scene = Scene::new();
    assert_eq!(scene.newest().unwrap(), None, "no repository is no snapshot");
    let first = scene.run();
    assert_eq!((first.outcome, first.files_processed), (Outcome::Complete, 1), "{first:?}");
    assert_eq!(scene.run().outcome, Outcome::Complete);
    assert!(scene.newest().unwrap().is_some());
    let snapshots = scene.snapshots();
    assert_eq!(snapshots.len(), 2);
    assert_eq!(snapshots[1].tags, ["pillion=shop/db", "t"]);
    assert_eq!(snapshots[1].hostname, "host-0");
    assert!(snapshots[1].excludes.iter().any(|exclude| exclude.ends_with("/lost+found")));
    assert!(snapshots[1].parent.is_some());
    assert_eq!(fs::read_dir(scene.path("repository/locks")).unwrap().count(), 0);
}

#[test]
fn a_repository_that_is_gone_is_never_made_anew() {
    let scene = Scene::new();
    assert_eq!(scene.run().outcome, Outcome::Complete);
    fs::rename(scene.path("repository"), scene.path("moved")).unwrap();
    let end = scene.run();
    assert_eq!(end.outcome, Outcome::RepositoryReplaced);
    assert!(end.message.starts_with("repository replaced: there is none"), "{}", end.message);
    let remedy = format!("to begin a new one there, delete {}", scene.path("cache/agent.json").display());
    assert!(end.message.ends_with(&remedy), "{}", end.message);
    let refusal = RunEnd::from(scene.newest().unwrap_err());
    assert_eq!(refusal.outcome, Outcome::RepositoryReplaced, "{refusal:?}");
    assert!(!scene.path("repository").exists());

    let other = Scene::new();
    assert_eq!(other.run().outcome, Outcome::Complete);
    fs::rename(other.path("repository"), scene.path("repository")).unwrap();
    let end = scene.run();
    assert_eq!(end.outcome, Outcome::RepositoryReplaced);
    assert!(end.message.starts_with("repository replaced: there is the repository"), "{}", end.message);

    fs::remove_dir_all(scene.path("repository")).unwrap();
    fs::rename(scene.path("moved"), scene.path("repository")).unwrap();
    assert_eq!(scene.run().outcome, Outcome::Complete);
}

#[test]
fn a_replaced_repository_is_taken_once_the_file_that_is_named_is_deleted() {
    let (scene, other) = (Scene::new(), Scene::new());
    assert_eq!((scene.run().outcome, other.run().outcome), (Outcome::Complete, Outcome::Complete));
    fs::remove_dir_all(scene.path("repository")).unwrap();
    fs::rename(other.path("repository"), scene.path("repository")).unwrap();
    let refused = scene.run();
    assert_eq!(refused.outcome, Outcome::RepositoryReplaced);
    let (_, file) = refused.message.rsplit_once("delete ").unwrap();
    fs::remove_file(file).unwrap();
    assert_eq!(scene.run().outcome, Outcome::Complete);
    assert_eq!(scene.snapshots().len(), 2);
}

/// What a run and a look say of a repository that was pinned and is gone; neither makes one.
fn check_gone(scene: &Scene) {
    let ends = [RunEnd::from(scene.newest().unwrap_err()), scene.run()];
    for end in ends {
        assert_eq!(end.outcome, Outcome::RepositoryReplaced, "{end:?}");
        assert!(end.message.starts_with("repository replaced: there is none"), "{}", end.message);
    }
    assert!(!scene.path("repository").exists());
}

#[test]
fn a_repository_that_was_only_looked_at_is_pinned() {
    let (scene, other) = (Scene::new(), Scene::new());
    assert_eq!(other.run().outcome, Outcome::Complete);
    fs::rename(other.path("repository"), scene.path("repository")).unwrap();
    assert!(scene.newest().unwrap().is_some());
    fs::rename(scene.path("repository"), scene.path("moved")).unwrap();
    check_gone(&scene);
}

#[test]
fn a_repository_whose_first_run_failed_is_pinned() {
    let scene = Scene::new();
    fs::rename(scene.path("source"), scene.path("away")).unwrap();
    let failed = scene.run();
    assert_eq!(failed.outcome, Outcome::Failed, "{failed:?}");
    fs::rename(scene.path("away"), scene.path("source")).unwrap();
    fs::rename(scene.path("repository"), scene.path("moved")).unwrap();
    check_gone(&scene);
}

/// How a run ends whose settings demand an ID.
fn run_demanding(scene: &Scene, id: &str) -> RunEnd {
    let mut config = (*scene.config()).clone();
    config.repository_id = Some(id.parse().unwrap());
    job_of(&config, |access| {
        let ended = back_up_with(access, &Environment::default());
        assert_eq!(newest(access).is_ok(), ended.is_ok());
        ended.unwrap_or_else(RunEnd::from)
    })
}

fn id_of(scene: &Scene) -> String {
    scene.job(|access| access.open(&access.way().unwrap()).unwrap().config.id.to_string())
}

#[test]
fn an_id_of_the_settings_counts_before_anything_was_seen() {
    let (scene, other) = (Scene::new(), Scene::new());
    assert_eq!((scene.run().outcome, other.run().outcome), (Outcome::Complete, Outcome::Complete));
    let id = id_of(&scene);
    // A new pod: nothing is known but the settings.
    let forget = || fs::remove_dir_all(scene.path("cache")).unwrap();
    forget();
    assert_eq!(run_demanding(&scene, &id).outcome, Outcome::Complete);
    forget();
    fs::rename(scene.path("repository"), scene.path("moved")).unwrap();
    let gone = run_demanding(&scene, &id);
    assert_eq!(gone.outcome, Outcome::RepositoryReplaced);
    assert!(gone.message.starts_with("repository replaced: there is none"), "{}", gone.message);
    assert!(
        gone.message.contains("repositoryId") && !gone.message.contains("agent.json"),
        "{}",
        gone.message
    );
    assert!(!scene.path("repository").exists());

    fs::rename(other.path("repository"), scene.path("repository")).unwrap();
    let replaced = run_demanding(&scene, &id);
    assert_eq!(replaced.outcome, Outcome::RepositoryReplaced);
    assert!(replaced.message.contains("there is the repository"), "{}", replaced.message);
}

#[test]
fn an_id_of_the_settings_stands_before_the_one_that_was_kept_and_is_kept_from_then_on() {
    let (scene, other) = (Scene::new(), Scene::new());
    assert_eq!((scene.run().outcome, other.run().outcome), (Outcome::Complete, Outcome::Complete));
    let (old, new) = (id_of(&scene), id_of(&other));
    fs::remove_dir_all(scene.path("repository")).unwrap();
    fs::rename(other.path("repository"), scene.path("repository")).unwrap();
    assert_eq!(scene.run().outcome, Outcome::RepositoryReplaced);
    assert_eq!(run_demanding(&scene, &old).outcome, Outcome::RepositoryReplaced);
    assert_eq!(run_demanding(&scene, &new).outcome, Outcome::Complete);
    assert_eq!(scene.run().outcome, Outcome::Complete, "without the setting too");
}

#[test]
fn a_password_that_ends_in_a_line_break_opens_with_it_and_else_without_it() {
    let scene = Scene::new();
    let config = scene.config();
    let run_with = |password: &str| {
        let environment = Environment::default();
        let run = |access: &Access<'_>| back_up_with(access, &environment);
        job_with(password, &config, run).map_err(|refusal| RunEnd::from(refusal).message)
    };
    run_with("x").unwrap();
    for echoed in ["x\n", "x\r\n"] {
        assert_eq!(run_with(echoed).unwrap().outcome, Outcome::Complete, "{echoed:?}");
    }
    let check_wrong = || {
        for wrong in ["x\n\n", "x ", "\nx", "X\n"] {
            assert!(run_with(wrong).unwrap_err().contains("wrong password"), "{wrong:?}");
        }
    };
    check_wrong();
    // A key of which nothing is known hides that the password fits no other.
    fs::write(scene.path("repository/keys").join("0".repeat(64)), b"garbage").unwrap();
    assert_eq!(run_with("x\n").unwrap().outcome, Outcome::Complete);
    check_wrong();
    let exact = Scene::new();
    let config = exact.config();
    let newest = |password| job_with(password, &config, |access| newest(access).is_ok());
    let environment = Environment::default();
    job_with("x\n", &config, |access| {
        back_up_with(access, &environment).unwrap();
    });
    assert!(newest("x\n") && !newest("x"), "what was given made the repository, to the byte");
}

#[test]
fn however_a_location_is_written_it_has_one_pin() {
    let directory = tempfile::tempdir().unwrap();
    let pin_of = |text: &str| {
        Pin::read(directory.path(), &Location::parse(text).unwrap(), None, &Accepted::default()).unwrap()
    };
    let id = pillion_repository::format::id::Id::of(b"x");
    pin_of("/x/r").keep(id).unwrap();
    for same in ["/x/r/", "//x/./r", "/x/y/../r", "local:/x/r"] {
        assert_eq!(pin_of(same).id(), Some(id), "{same}");
    }
    let here = std::env::current_dir().unwrap();
    pin_of("here/r").keep(id).unwrap();
    assert_eq!(pin_of(&format!("{}/here/r/", here.display())).id(), Some(id));
    assert_eq!(pin_of("/x/s").id(), None);
}

#[test]
fn a_damaged_pin_is_told_and_nothing_is_made() {
    let scene = Scene::new();
    fs::create_dir(scene.path("cache")).unwrap();
    fs::write(scene.path("cache/agent.json"), b"{").unwrap();
    let end = scene.run();
    assert_eq!(end.outcome, Outcome::Failed);
    assert!(end.message.contains("agent.json is damaged"), "{}", end.message);
    assert!(!scene.path("repository").exists());
}

#[test]
fn a_cache_directory_that_is_none_is_done_without_and_the_settings_pin_alone() {
    let scene = Scene::new();
    fs::write(scene.path("cache"), b"a file").unwrap();
    assert_eq!(scene.newest().unwrap(), None);
    assert_eq!(scene.run().outcome, Outcome::Complete);
    assert!(scene.newest().unwrap().is_some());
    let config = fs::read(scene.path("repository/config")).unwrap();
    assert_eq!(scene.run().outcome, Outcome::Complete);
    assert_eq!(fs::read(scene.path("repository/config")).unwrap(), config);
    assert_eq!(run_demanding(&scene, &"5".repeat(64)).outcome, Outcome::RepositoryReplaced);
}

#[test]
fn what_one_process_has_seen_is_never_made_anew_whatever_becomes_of_the_cache_directory() {
    let break_cache: [fn(&Scene); 3] = [
        |scene| fs::write(scene.path("cache"), b"a file").unwrap(),
        |scene| {
            fs::rename(scene.path("cache"), scene.path("away")).unwrap();
            fs::write(scene.path("cache"), b"a file").unwrap();
        },
        |scene| fs::rename(scene.path("cache"), scene.path("away")).unwrap(),
    ];
    for (number, break_cache) in break_cache.into_iter().enumerate() {
        let scene = Scene::new();
        // It is of no use from the beginning, or breaks while the agent lives.
        if number == 0 {
            break_cache(&scene);
        }
        scene.job(|access| {
            let environment = Environment::default();
            let back_up = || back_up_with(access, &environment);
            assert_eq!(back_up().unwrap().outcome, Outcome::Complete);
            if number > 0 {
                break_cache(&scene);
            }
            fs::rename(scene.path("repository"), scene.path("moved")).unwrap();
            for refusal in [back_up().unwrap_err(), newest(access).unwrap_err()] {
                let end = RunEnd::from(refusal);
                assert_eq!(end.outcome, Outcome::RepositoryReplaced, "{number}: {end:?}");
                assert!(
                    end.message.ends_with("to begin a new one there, restart the agent"),
                    "{}",
                    end.message
                );
            }
            assert!(!scene.path("repository").exists());
            fs::rename(scene.path("moved"), scene.path("repository")).unwrap();
            assert_eq!(back_up().unwrap().outcome, Outcome::Complete);
        });
    }
}

#[test]
fn the_file_that_is_named_can_be_deleted_while_the_agent_lives() {
    let scene = Scene::new();
    scene.job(|access| {
        let environment = Environment::default();
        let back_up = || back_up_with(access, &environment);
        back_up().unwrap();
        fs::remove_dir_all(scene.path("repository")).unwrap();
        back_up().unwrap_err();
        fs::remove_file(scene.path("cache/agent.json")).unwrap();
        assert_eq!(back_up().unwrap().outcome, Outcome::Complete);
    });
}

#[test]
fn where_the_pin_is_shut_away_a_repository_is_opened_and_none_made() {
    let scene = Scene::new();
    let process = Process::current(&Environment::default());
    // The one who runs a test may be let in everywhere.
    let open_or_init = |access: &Access<'_>| {
        let mut pin = access.pin().unwrap();
        pin.reach = Reach::Denied;
        access.open_or_init(&mut pin, &process).map(drop)
    };
    let refused = RunEnd::from(scene.job(open_or_init).unwrap_err());
    assert_eq!(refused.outcome, Outcome::Failed);
    assert!(refused.message.contains("lets this user not in: none is made"), "{}", refused.message);
    assert!(!scene.path("repository").exists());
    scene.run();
    scene.job(open_or_init).unwrap();
}

#[test]
fn a_pin_that_is_there_and_cannot_be_read_is_told_and_nothing_is_made() {
    let scene = Scene::new();
    fs::create_dir_all(scene.path("cache/agent.json")).unwrap();
    let end = scene.run();
    assert_eq!(end.outcome, Outcome::Failed);
    assert!(end.message.contains("agent.json"), "{}", end.message);
    assert!(!scene.path("repository").exists());
}

#[test]
fn what_is_to_be_looked_at_first_is_of_the_kind_of_the_location() {
    let directory = tempfile::tempdir().unwrap();
    let id = pillion_repository::format::id::Id::of(b"x");
    for (location, words) in [
        ("/r", "a volume is not mounted"),
        ("s3:host/bucket", "bucket, prefix and credentials"),
        ("azure:container:/", "bucket, prefix and credentials"),
        ("b2:bucket-1:/", "bucket, prefix and credentials"),
    ] {
        let mut pin =
            Pin::read(directory.path(), &Location::parse(location).unwrap(), Some(id), &Accepted::default())
                .unwrap();
        let gone = Error::NoRepository { location: location.to_owned(), why: None };
        let end = RunEnd::from(pin.accept(Err(gone)).unwrap_err());
        assert!(end.hint.as_ref().unwrap().contains(words), "{location}: {end:?}");
    }
}

#[test]
fn what_a_failed_job_asked_is_not_counted_with_the_next_one() {
    let scene = Scene::new();
    assert_eq!(scene.run().outcome, Outcome::Complete);
    let environment = Environment::default();
    job_with("wrong", &scene.config(), |access| {
        back_up_with(access, &environment).unwrap_err();
        assert_eq!(access.kept.asked_since_told().to_string(), "");
        newest(access).unwrap_err();
        assert_eq!(access.kept.asked_since_told().to_string(), "");
        assert!(!access.kept.counts().all().0.is_empty(), "and for the process it is");
    });
}

#[test]
fn a_source_with_an_unfinished_restore_is_refused_until_the_marker_is_gone() {
    let scene = Scene::new();
    let file = scene.path("source/.pillion-restore");
    fs::write(&file, b"{}").unwrap();
    let end = scene.run();
    assert_eq!(end.outcome, Outcome::Failed);
    assert!(end.message.contains(&format!("delete {}", file.display())), "{}", end.message);
    fs::remove_file(&file).unwrap();
    assert_eq!(scene.run().outcome, Outcome::Complete);
}

#[test]
fn a_repository_below_a_source_is_in_no_snapshot() {
    let scene = Scene::new();
    let mut config = (*scene.config()).clone();
    config.repository = Location::Local(scene.path("source/backup"));
    for _ in 0..2 {
        let end = back_up(&config);
        assert_eq!((end.outcome, end.files_processed), (Outcome::Complete, 1), "{end:?}");
    }
}

#[test]
fn agents_that_begin_at_the_same_time_share_one_repository() {
    let scene = Scene::new();
    let ends: Vec<RunEnd> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| scene.run())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ends.iter().all(|end| end.outcome == Outcome::Complete), "{ends:?}");
    assert_eq!(fs::read_dir(scene.path("repository/keys")).unwrap().count(), 1);
    assert_eq!(scene.snapshots().len(), 3);
}

#[test]
fn what_is_left_out_makes_the_run_incomplete_and_is_named() {
    let scene = Scene::new();
    // A link instead of a directory: the application must not lead the agent out of its volume.
    std::os::unix::fs::symlink("/etc", scene.path("linked")).unwrap();
    let mut config = (*scene.config()).clone();
    config.plans[0].sources.push(scene.path("linked"));
    let end = back_up(&config);
    assert_eq!((end.outcome, end.skipped), (Outcome::Incomplete, 1), "{end:?}");
    assert!(end.message.starts_with("1 left out (") && end.message.contains("/linked"), "{}", end.message);
}

#[test]
fn a_source_that_is_missing_for_good_does_not_make_every_start_a_first_one() {
    let scene = Scene::new();
    let mut config = (*scene.config()).clone();
    config.identity = None;
    config.plans[0].sources.push(scene.path("later"));
    let has_newest = |config: &Config| job_of(config, |access| newest(access).unwrap().is_some());
    assert_eq!(back_up(&config).outcome, Outcome::Incomplete);
    assert!(has_newest(&config), "another run would hold no more");
    fs::create_dir(scene.path("later")).unwrap();
    assert!(!has_newest(&config), "no snapshot holds what is there now");
    assert_eq!(back_up(&config).outcome, Outcome::Complete);
    assert!(has_newest(&config));

    let other_host = Config { host: "other".to_owned(), ..config.clone() };
    assert!(!has_newest(&other_host));
    let mut others = config;
    others.plans[0].sources = vec![scene.path("none")];
    assert!(!has_newest(&others), "a snapshot that holds no source at all is none of this agent's");
}
