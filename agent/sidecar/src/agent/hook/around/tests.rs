//! When hooks run: with somebody who answers wishes, and a clock that jumps.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::exec::{ExecAnswer, ExecRequests};
use super::*;
use crate::agent::config::raw::Raw;

struct Scene {
    directory: tempfile::TempDir,
    config: Config,
    runner: Runner,
    /// What was carried out, in order.
    done: Arc<Mutex<Vec<String>>>,
}

const BOTH: &str = "preBackup: {exec: {command: [freeze]}, containerName: db}, \
                    postBackup: {exec: {command: [thaw]}, containerName: db}";

impl Scene {
    /// Somebody fulfils every wish but the first `failing` ones to thaw.
    fn new(hooks: &str, failing: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let yaml = format!(
            "{{repository: /r, sources: /s, schedule: '@daily', cacheDir: {}, hooks: {{{hooks}}}}}",
            directory.path().join("cache").display()
        );
        let config = Config::resolve(Raw::from_yaml(&yaml).unwrap()).unwrap();
        let exec = Arc::new(ExecRequests::default());
        let done: Arc<Mutex<Vec<String>>> = Arc::default();
        let (asked, told, failed) = (Arc::clone(&exec), Arc::clone(&done), AtomicUsize::new(0));
        let mut changes = asked.changes();
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                for request in asked.pending() {
                    told.lock().unwrap().push(request.command[0].clone());
                    let fails =
                        request.command[0] == "thaw" && failed.fetch_add(1, Ordering::SeqCst) < failing;
                    let exit_code = Some(i32::from(fails));
                    asked.answer(&request.id, ExecAnswer { exit_code, message: String::new() }).unwrap();
                }
            }
        });
        Self { directory, config, runner: Runner { exec }, done }
    }

    fn around(&self) -> Around {
        Around::new(self.runner.clone(), &self.config, &self.config.plans[0], 7)
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }

    fn has_marker(&self) -> bool {
        let cache = self.directory.path().join("cache");
        std::fs::read_dir(cache).is_ok_and(|mut files| files.next().is_some())
    }
}

/// Begins the reading, as the engine's thread does.
async fn begin(around: &Around, cancel: &CancellationToken) -> pillion_repository::Result<()> {
    let (around, cancel) = (around.clone(), cancel.clone());
    tokio::task::spawn_blocking(move || around.before_reading(&cancel)).await.unwrap()
}

async fn conclude(around: &Around, outcome: Outcome) -> RunEnd {
    around.conclude(RunEnd::empty(outcome), Retry::No).await
}

/// Until what others do by themselves has happened.
async fn until(happened: impl Fn() -> bool) {
    while !happened() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_workload_goes_on_once_nothing_is_read_any_more_and_not_again_at_the_end() {
    let scene = Scene::new(BOTH, 0);
    let around = scene.around();
    begin(&around, &CancellationToken::new()).await.unwrap();
    assert_eq!((scene.done(), scene.has_marker()), (vec!["freeze".to_owned()], true));
    around.after_reading();
    until(|| scene.done().len() == 2 && !scene.has_marker()).await;
    let end = conclude(&around, Outcome::Complete).await;
    assert_eq!((end.outcome, end.message.as_str()), (Outcome::Complete, ""));
    assert_eq!(scene.done(), ["freeze", "thaw"]);
}

#[tokio::test(start_paused = true)]
async fn a_quiesce_ends_in_time_whatever_the_run_does() {
    let scene = Scene::new(&format!("{BOTH}, quiesceTimeout: 40s"), 0);
    let around = scene.around();
    let begun = Instant::now();
    begin(&around, &CancellationToken::new()).await.unwrap();
    // The reading hangs for an hour.
    let mut changes = scene.runner.exec.changes();
    changes.changed().await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 40);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((scene.done(), scene.has_marker()), (vec!["freeze".to_owned(), "thaw".to_owned()], false));
    around.after_reading();
    let end = conclude(&around, Outcome::Complete).await;
    assert_eq!(end.outcome, Outcome::Complete);
    assert_eq!(end.message, "the workload went on after 40s (quiesceTimeout), before all was read");
    assert_eq!(scene.done().len(), 2);
}

#[tokio::test]
async fn a_run_that_is_cancelled_or_fails_or_panics_lets_the_workload_go_on() {
    let scene = Scene::new(BOTH, 0);
    let (around, cancel) = (scene.around(), CancellationToken::new());
    begin(&around, &cancel).await.unwrap();
    cancel.cancel();
    until(|| scene.done() == ["freeze", "thaw"] && !scene.has_marker()).await;
    assert_eq!(conclude(&around, Outcome::Stopped).await.message, "");

    // Neither the one nor the other says that the reading is over.
    let scene = Scene::new(BOTH, 0);
    let around = scene.around();
    begin(&around, &CancellationToken::new()).await.unwrap();
    assert_eq!(conclude(&around, Outcome::Failed).await.outcome, Outcome::Failed);
    assert_eq!((scene.done(), scene.has_marker()), (vec!["freeze".to_owned(), "thaw".to_owned()], false));
}

#[tokio::test]
async fn a_first_hook_that_fails_ends_the_run_and_is_undone() {
    let pre = "preBackup: {command: /nonexistent}, postBackup: {exec: {command: [thaw]}, containerName: db}";
    let scene = Scene::new(pre, 0);
    let around = scene.around();
    let refused = begin(&around, &CancellationToken::new()).await.unwrap_err().to_string();
    assert!(
        refused.starts_with("the preBackup hook failed (command /nonexistent): it cannot be started"),
        "{refused}"
    );
    assert!(refused.ends_with("; nothing was read"), "{refused}");
    conclude(&around, Outcome::Failed).await;
    assert_eq!((scene.done(), scene.has_marker()), (vec!["thaw".to_owned()], false));
}

#[tokio::test]
async fn without_a_place_for_the_marker_nothing_is_begun() {
    let scene = Scene::new(BOTH, 0);
    std::fs::write(scene.directory.path().join("cache"), "a file").unwrap();
    let around = scene.around();
    let refused = begin(&around, &CancellationToken::new()).await.unwrap_err().to_string();
    assert!(refused.starts_with("the preBackup hook was not run: "), "{refused}");
    assert_eq!(scene.done(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_does_not_go_on_is_told_again_and_then_given_up_with_a_word() {
    for (failing, tries, said) in [(2, 3, ""), (9, 3, "; the workload may still be held")] {
        let scene = Scene::new(BOTH, failing);
        let around = scene.around();
        begin(&around, &CancellationToken::new()).await.unwrap();
        let end = conclude(&around, Outcome::Complete).await;
        assert_eq!(end.outcome, Outcome::Complete);
        assert!(end.message.ends_with(said) && end.message.is_empty() == said.is_empty(), "{}", end.message);
        assert_eq!((scene.done().len(), scene.has_marker()), (1 + tries, false));
    }
}

#[tokio::test]
async fn a_wish_that_nobody_fulfils_fails_by_its_timeout() {
    let scene = Scene::new("preBackup: {exec: {command: [x]}, containerName: db, timeout: 20ms}", 0);
    let around = Around::new(Runner { exec: Arc::default() }, &scene.config, &scene.config.plans[0], 7);
    let refused = begin(&around, &CancellationToken::new()).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "the preBackup hook failed (exec in container db): it took longer than 20ms; nothing was read"
    );
}

#[tokio::test]
async fn each_policy_has_its_outcomes() {
    let all = [
        Outcome::Complete,
        Outcome::Incomplete,
        Outcome::Failed,
        Outcome::RepositoryReplaced,
        Outcome::Stopped,
    ];
    for (policy, expected) in [
        ("Always", [true, true, true, true, true]),
        ("OnSuccess", [true, false, false, false, false]),
        ("OnFailure", [false, true, true, true, true]),
        ("OnFinalRetryFailure", [false, true, true, true, false]),
    ] {
        let hook = "exec: {command: [post]}, containerName: db";
        let scene = Scene::new(&format!("postBackup: {{{hook}, executionPolicy: {policy}}}"), 0);
        for (outcome, runs) in all.into_iter().zip(expected) {
            scene.done.lock().unwrap().clear();
            conclude(&scene.around(), outcome).await;
            assert_eq!(!scene.done().is_empty(), runs, "{policy} {outcome}");
        }
    }
    let again = applies(ExecutionPolicy::OnFinalRetryFailure, Outcome::Failed, Retry::Follows);
    assert!(!again, "it is tried again");
}

#[tokio::test]
async fn a_second_hook_that_fails_is_said_and_undoes_nothing() {
    let scene = Scene::new("postBackup: {command: /nonexistent}", 0);
    let mut end = RunEnd::empty(Outcome::Incomplete);
    end.message = "1 left out (/x)".to_owned();
    let end = scene.around().conclude(end, Retry::No).await;
    assert_eq!(end.outcome, Outcome::Incomplete);
    let said = "1 left out (/x); the postBackup hook failed (command /nonexistent): it cannot be started: ";
    assert!(end.message.starts_with(said), "{}", end.message);
}

/// Leaves a quiesce open, as a process does that is killed.
fn leave_open(scene: &Scene) {
    let note = Note { opened_at: Utc::now(), hook: "x".to_owned(), run: 1 };
    drop(Marker::write(&marker::path(&scene.config, &scene.config.plans[0]), &note).unwrap());
}

#[tokio::test]
async fn what_an_earlier_process_left_open_is_ended_once() {
    let scene = Scene::new(BOTH, 0);
    let cancel = CancellationToken::new();
    let recover = || recover(&scene.runner, &scene.config, &cancel);
    recover().await;
    assert_eq!(scene.done(), [""; 0]);
    leave_open(&scene);
    recover().await;
    recover().await;
    assert_eq!((scene.done(), scene.has_marker()), (vec!["thaw".to_owned()], false));

    let other = Scene::new("preBackup: {command: /freeze}", 0);
    leave_open(&other);
    super::recover(&other.runner, &other.config, &CancellationToken::new()).await;
    assert!(!other.has_marker(), "it was given up with a word");
}

#[tokio::test]
async fn an_agent_that_is_told_to_end_leaves_it_to_the_next_one() {
    let scene = Scene::new(BOTH, 0);
    leave_open(&scene);
    let cancel = CancellationToken::new();
    cancel.cancel();
    recover(&scene.runner, &scene.config, &cancel).await;
    assert_eq!((scene.done(), scene.has_marker()), (Vec::new(), true));
}
