//! Sources that answer late or never, as a scripted file system.

use pillion_repository::source::script::{Call, Script};

use super::*;
use crate::agent::config::Bound;

#[test]
fn a_run_on_a_source_that_hangs_ends_without_a_lock_and_the_next_one_is_refused_until_it_answers() {
    let scene = Scene::new();
    let script = Script::new();
    let (answer, hangs) = std::sync::mpsc::channel::<()>();
    let path = scene.path("source").display().to_string();
    script.file(&format!("{path}/file"), b"content");
    script.before(Call::Read, &format!("{path}/file"), 1, move |_| _ = hangs.recv());
    let mut config = (*scene.config()).clone();
    config.stall_timeout = Bound(Some(Duration::from_secs(1)));
    config.retry_lock = Duration::ZERO;
    let config = Arc::new(config);
    let engine = Resident {
        source_paths: SourcePaths::Scripted(Arc::clone(&script)),
        ..Resident::new(Environment::default())
    };
    let runtime = crate::cli::session::runtime().unwrap();
    let run = || {
        let (trigger, requested_at) = (Trigger::First, Utc::now());
        let queued = Queued { number: 1, trigger, joined: 0, requested_at };
        let request = RunRequest {
            queued,
            config: Arc::clone(&config),
            credentials: credentials("x"),
            progress: Arc::default(),
        };
        runtime.block_on(engine.run(request, CancellationToken::new()))
    };
    let hung = run();
    assert_eq!(hung.outcome, Outcome::Failed);
    assert!(hung.message.contains(&format!("the source {path} does not answer")), "{}", hung.message);
    assert_eq!(fs::read_dir(scene.path("repository/locks")).unwrap().count(), 0);
    let refused = run();
    assert_eq!(refused.outcome, Outcome::Failed);
    assert!(refused.message.starts_with(&format!("stuck: the source {path} ")), "{}", refused.message);

    // Nothing of the run that was given up comes after it.
    assert_eq!(script.calls(Call::Read, &format!("{path}/file")), 1);
    answer.send(()).unwrap();
    let whole = loop {
        let end = run();
        if !end.message.starts_with("stuck: ") {
            break end;
        }
    };
    assert_eq!((whole.outcome, whole.files_processed), (Outcome::Complete, 1), "{whole:?}");
    assert_eq!(fs::read_dir(scene.path("repository/snapshots")).unwrap().count(), 1);
}

#[test]
fn a_stop_does_not_wait_for_a_source_that_hangs() {
    let scene = Scene::new();
    let script = Script::new();
    let (_answer, hangs) = std::sync::mpsc::channel::<()>();
    let path = scene.path("source").display().to_string();
    script.file(&format!("{path}/file"), b"content");
    let (cancel, stopping) = (CancellationToken::new(), CancellationToken::new());
    let stop = stopping.clone();
    script.before(Call::Read, &format!("{path}/file"), 1, move |_| {
        stop.cancel();
        _ = hangs.recv();
    });
    let engine =
        Resident { source_paths: SourcePaths::Scripted(script), ..Resident::new(Environment::default()) };
    let runtime = crate::cli::session::runtime().unwrap();
    let queued = Queued { number: 1, trigger: Trigger::First, joined: 0, requested_at: Utc::now() };
    let request = RunRequest {
        queued,
        config: scene.config(),
        credentials: credentials("x"),
        progress: Arc::default(),
    };
    let end = runtime.block_on(async {
        tokio::join!(engine.run(request, cancel.clone()), async {
            stopping.cancelled().await;
            cancel.cancel();
        })
        .0
    });
    assert!(end.message.contains("does not answer"), "{end:?}");
    assert_eq!(fs::read_dir(scene.path("repository/locks")).unwrap().count(), 0);
    runtime.shutdown_background();
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_says_so() {
    let scene = Scene::new();
    let script = Script::new();
    let path = scene.path("source").display().to_string();
    script.file(&format!("{path}/file"), b"content").file(&format!("{path}/other"), b"content");
    // It is slow, and never stands still for long: each pause is over before anything is given up.
    script
        .before(Call::Read, &format!("{path}/file"), 1, move |_| std::thread::sleep(Duration::from_secs(2)));
    let mut config = (*scene.config()).clone();
    config.run_timeout = Bound(Some(Duration::from_secs(1)));
    let engine =
        Resident { source_paths: SourcePaths::Scripted(script), ..Resident::new(Environment::default()) };
    let runtime = crate::cli::session::runtime().unwrap();
    let queued = Queued { number: 1, trigger: Trigger::First, joined: 0, requested_at: Utc::now() };
    let request = RunRequest {
        queued,
        config: Arc::new(config),
        credentials: credentials("x"),
        progress: Arc::default(),
    };
    let end = runtime.block_on(engine.run(request, CancellationToken::new()));
    assert_eq!(end.outcome, Outcome::Failed);
    assert!(end.message.starts_with("it took longer than runTimeout, 1s, "), "{end:?}");
}
