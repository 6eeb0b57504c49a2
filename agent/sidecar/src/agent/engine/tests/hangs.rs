//! Sources that answer late or never, as a scripted file system.

use pillion_repository::source::script::{Call, Script};

use super::*;
use crate::agent::config::Bound;

/// A source with one file, whose file system does what the test says, and the engine that reads it.
struct Scripted {
    scene: Scene,
    script: Arc<Script>,
    engine: Resident,
    runtime: tokio::runtime::Runtime,
}

impl Scripted {
    fn new() -> Self {
        let (scene, script) = (Scene::new(), Script::new());
        let source_paths = SourcePaths::Scripted(Arc::clone(&script));
        let engine = Resident { source_paths, ..Resident::new(Environment::default()) };
        let runtime = crate::cli::session::runtime().unwrap();
        let scripted = Self { scene, script, engine, runtime };
        scripted.script.file(&scripted.file(), b"content");
        scripted
    }

    fn source(&self) -> String {
        self.scene.path("source").display().to_string()
    }

    fn file(&self) -> String {
        format!("{}/file", self.source())
    }

    /// What happens when the file is read for the first time.
    fn before_reading(&self, happens: impl FnOnce() + Send + 'static) {
        self.script.before(Call::Read, &self.file(), 1, move |_| happens());
    }

    fn config(&self, change: impl FnOnce(&mut Config)) -> Arc<Config> {
        let mut config = (*self.scene.config()).clone();
        change(&mut config);
        Arc::new(config)
    }

    fn run(&self, config: &Arc<Config>) -> RunEnd {
        self.runtime.block_on(self.engine.run(first(Arc::clone(config)), CancellationToken::new()))
    }

    fn count(&self, folder: &str) -> usize {
        fs::read_dir(self.scene.path("repository").join(folder)).unwrap().count()
    }
}

#[test]
fn a_run_on_a_source_that_hangs_ends_without_a_lock_and_the_next_one_is_refused_until_it_answers() {
    let scene = Scripted::new();
    let (answer, hangs) = std::sync::mpsc::channel::<()>();
    scene.before_reading(move || _ = hangs.recv());
    let config = scene.config(|config| {
        config.stall_timeout = Bound(Some(Duration::from_secs(1)));
        config.retry_lock = Duration::ZERO;
    });
    let hung = scene.run(&config);
    assert_eq!(hung.outcome, Outcome::Failed);
    let told = format!("the source {} does not answer", scene.source());
    assert!(hung.message.contains(&told), "{}", hung.message);
    assert_eq!(scene.count("locks"), 0);
    let refused = scene.run(&config);
    assert_eq!(refused.outcome, Outcome::Failed);
    assert!(refused.message.starts_with(&format!("stuck: the source {} ", scene.source())), "{refused:?}");
    assert_eq!(scene.engine.vitals().stuck_sources, [PathBuf::from(scene.source())]);

    // Nothing of the run that was given up comes after it.
    assert_eq!(scene.script.calls(Call::Read, &scene.file()), 1);
    answer.send(()).unwrap();
    let whole = loop {
        let end = scene.run(&config);
        if !end.message.starts_with("stuck: ") {
            break end;
        }
    };
    assert_eq!((whole.outcome, whole.files_processed), (Outcome::Complete, 1), "{whole:?}");
    assert_eq!(scene.count("snapshots"), 1);
    assert!(scene.engine.vitals().stuck_sources.is_empty());
}

#[test]
fn a_stop_does_not_wait_for_a_source_that_hangs() {
    let scene = Scripted::new();
    let (_answer, hangs) = std::sync::mpsc::channel::<()>();
    let (cancel, stopping) = (CancellationToken::new(), CancellationToken::new());
    let stop = stopping.clone();
    scene.before_reading(move || {
        stop.cancel();
        _ = hangs.recv();
    });
    let request = first(scene.scene.config());
    let end = scene.runtime.block_on(async {
        tokio::join!(scene.engine.run(request, cancel.clone()), async {
            stopping.cancelled().await;
            cancel.cancel();
        })
        .0
    });
    assert!(end.message.contains("does not answer"), "{end:?}");
    assert_eq!(scene.count("locks"), 0);
    scene.runtime.shutdown_background();
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_says_so() {
    let scene = Scripted::new();
    scene.script.file(&format!("{}/other", scene.source()), b"content");
    // It is slow, and never stands still for long: each pause is over before anything is given up.
    scene.before_reading(|| std::thread::sleep(Duration::from_secs(2)));
    let config = scene.config(|config| config.plans[0].run_timeout = Bound(Some(Duration::from_secs(1))));
    let end = scene.run(&config);
    assert_eq!(end.outcome, Outcome::Failed);
    assert!(end.message.starts_with("it took longer than runTimeout, 1s, "), "{end:?}");
}
