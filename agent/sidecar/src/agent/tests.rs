//! The loop with a scripted engine and a clock that jumps: tokio's paused time.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;

use chrono::TimeDelta;
use tokio::time::Instant;

use super::config::raw::Raw;
use super::record::Work;
use super::*;

mod simulation;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a test's time is RFC 3339")
}

/// Tokio's clock, shown as a time of day.
#[derive(Clone, Copy)]
struct TestClock {
    start: DateTime<Utc>,
    origin: Instant,
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        self.start + TimeDelta::from_std(self.origin.elapsed()).unwrap()
    }
}

/// What the engine does in one run: it takes a while, then ends or panics.
struct Step {
    takes: Duration,
    outcome: Option<Outcome>,
}

/// What a look finds, after a while.
struct Found {
    takes: Duration,
    newest: Result<Option<DateTime<Utc>>, RunEnd>,
}

struct Script {
    clock: TestClock,
    newest: Mutex<VecDeque<Found>>,
    steps: Mutex<VecDeque<Step>>,
    begun: Mutex<Vec<(String, Trigger)>>,
    /// How often it was asked to end what is open.
    recovered: Mutex<u32>,
}

impl Engine for Script {
    async fn recover(&self, _: Arc<Config>, _: CancellationToken) {
        *self.recovered.lock().unwrap() += 1;
    }

    async fn newest_snapshots(
        &self,
        config: Arc<Config>,
        _: Credentials,
        cancel: CancellationToken,
    ) -> Result<Newest, RunEnd> {
        assert!(*self.recovered.lock().unwrap() > 0, "that comes first");
        let found = self.newest.lock().unwrap().pop_front();
        let found = found.unwrap_or(Found { takes: Duration::ZERO, newest: Ok(None) });
        tokio::select! {
            () = cancel.cancelled() => return Err(RunEnd::stopped()),
            () = tokio::time::sleep(found.takes) => {}
        }
        let newest = found.newest?;
        Ok(config.plans.iter().map(|plan| (plan.name.clone(), newest)).collect())
    }

    async fn run(&self, request: RunRequest, cancel: CancellationToken) -> RunEnd {
        assert_eq!(request.credentials.password.expose(), PASSWORD.as_bytes());
        let time = self.clock.now().format("%d %T").to_string();
        self.begun.lock().unwrap().push((time, request.queued.trigger));
        let step = self.steps.lock().unwrap().pop_front();
        let step = step.unwrap_or(Step { takes: Duration::ZERO, outcome: Some(Outcome::Complete) });
        tokio::select! {
            () = cancel.cancelled() => return RunEnd::stopped(),
            () = tokio::time::sleep(step.takes) => {}
        }
        RunEnd::empty(step.outcome.expect("a scripted panic"))
    }
}

struct Scene {
    script: Arc<Script>,
    agent: Agent<Script, TestClock>,
}

fn scene(start: &str, yaml: &str) -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, yaml).unwrap();
    let environment = Environment::from_iter([("RESTIC_PASSWORD", PASSWORD)]);
    let mut scene = scene_with(start, Some(file), environment);
    // Taken over before the directory goes: a file that cannot be read leaves the last good settings.
    scene.agent.reload();
    scene
}

fn scene_with(start: &str, file: Option<PathBuf>, environment: Environment) -> Scene {
    let clock = TestClock { start: at(start), origin: Instant::now() };
    let script = Arc::new(Script {
        clock,
        newest: Mutex::default(),
        steps: Mutex::default(),
        begun: Mutex::default(),
        recovered: Mutex::default(),
    });
    let source = Source::new(Raw::default(), &environment, file);
    let agent = Agent::new(Arc::clone(&script), clock, source, environment);
    Scene { script, agent }
}

const PASSWORD: &str = "hunter1";

const DAILY: &str = "{repository: /r, sources: /s, cacheDir: /proc/none, schedule: 0 3 * * *}";

impl Scene {
    fn newest(self, found: Result<Option<&str>, RunEnd>) -> Self {
        self.newest_after(Duration::ZERO, found)
    }

    fn newest_after(self, takes: Duration, found: Result<Option<&str>, RunEnd>) -> Self {
        let newest = found.map(|time| time.map(at));
        self.script.newest.lock().unwrap().push_back(Found { takes, newest });
        self
    }

    fn step(self, takes: Duration, outcome: impl Into<Option<Outcome>>) -> Self {
        self.script.steps.lock().unwrap().push_back(Step { takes, outcome: outcome.into() });
        self
    }

    /// Serves for a while of paused time; the runs that began, and the newest record.
    async fn serve(self, hours: u64) -> (Vec<(String, Trigger)>, Option<Arc<RunRecord>>) {
        let stop = CancellationToken::new();
        let handle = self.agent.handle();
        let task = tokio::spawn(self.agent.serve(stop.clone()));
        tokio::time::sleep(Duration::from_secs(hours * 3600)).await;
        stop.cancel();
        task.await.expect("the loop ends by itself");
        let begun = std::mem::take(&mut *self.script.begun.lock().unwrap());
        (begun, handle.state().newest_run().cloned())
    }
}

fn times(begun: &[(String, Trigger)]) -> Vec<&str> {
    begun.iter().map(|(time, _)| time.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn without_a_snapshot_the_first_run_begins_at_once_and_then_the_schedule_rules() {
    let (begun, record) = scene("2026-11-21T10:00:00Z", DAILY).newest(Ok(None)).serve(48).await;
    assert_eq!(times(&begun), ["21 10:00:00", "22 03:00:00", "23 03:00:00"]);
    assert_eq!(begun[0].1, Trigger::First);
    assert_eq!(record.unwrap().number, 3);
}

#[tokio::test(start_paused = true)]
async fn missed_runs_are_caught_up_by_one() {
    let week_old = scene("2026-11-21T10:00:00Z", DAILY).newest(Ok(Some("2026-11-14T03:00:05Z")));
    let (begun, _) = week_old.serve(18).await;
    assert_eq!(times(&begun), ["21 10:00:00", "22 03:00:00"]);
    assert_eq!(begun[0].1, Trigger::CatchUp { newest: at("2026-11-14T03:00:05Z") });
}

#[tokio::test(start_paused = true)]
async fn nothing_is_caught_up_where_nothing_was_missed() {
    let fresh = scene("2026-11-21T10:00:00Z", DAILY).newest(Ok(Some("2026-11-21T03:00:05Z")));
    let (begun, _) = fresh.serve(18).await;
    assert_eq!(times(&begun), ["22 03:00:00"]);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_repository_is_tried_at_the_next_schedule_and_not_before() {
    let replaced = scene("2026-11-21T10:00:00Z", DAILY)
        .newest(Ok(None))
        .step(Duration::from_secs(10), Outcome::RepositoryReplaced);
    let (begun, record) = replaced.serve(18).await;
    assert_eq!(times(&begun), ["21 10:00:00", "22 03:00:00"]);
    assert!(matches!(begun[1].1, Trigger::Schedule { .. }), "{begun:?}");
    assert_eq!(record.unwrap().end.outcome, Outcome::Complete);

    let seen_at_the_start = scene("2026-11-21T10:00:00Z", DAILY)
        .newest(Err(RunEnd::replaced("another".to_owned(), None)))
        .newest(Ok(None));
    let (begun, _) = seen_at_the_start.serve(18).await;
    assert_eq!(times(&begun), ["22 03:00:00"]);
}

#[tokio::test(start_paused = true)]
async fn failed_runs_are_tried_again_at_growing_distance_until_one_succeeds() {
    let mut failing = scene("2026-11-21T10:00:00Z", DAILY).newest(Ok(None));
    for _ in 0..3 {
        failing = failing.step(Duration::from_secs(10), Outcome::Failed);
    }
    let (begun, record) = failing.serve(4).await;
    assert_eq!(times(&begun), ["21 10:00:00", "21 10:00:40", "21 10:01:50", "21 10:04:00"]);
    assert_eq!(begun[3].1, Trigger::Retry { failures: 3 });
    assert_eq!(record.unwrap().end.outcome, Outcome::Complete);
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_is_tried_again_as_often_as_the_settings_say_and_then_at_its_time() {
    let two = "{repository: /r, sources: /s, schedule: 0 3 * * *, retries: 2}";
    let mut failing = scene("2026-11-21T10:00:00Z", two).newest(Ok(None));
    for _ in 0..5 {
        failing = failing.step(Duration::from_secs(10), Outcome::Failed);
    }
    let (begun, _) = failing.serve(24).await;
    let first = ["21 10:00:00", "21 10:00:40", "21 10:01:50"];
    let next = ["22 03:00:00", "22 03:00:40", "22 03:01:50"];
    assert_eq!(times(&begun), [first, next].concat());
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_left_open_is_ended_whatever_keeps_runs_from_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, DAILY).unwrap();
    let scene = scene_with("2026-11-21T10:00:00Z", Some(file.clone()), Environment::default());
    let script = Arc::clone(&scene.script);
    let changes = async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(*script.recovered.lock().unwrap(), 1);
        std::fs::write(&file, DAILY.replace("/r,", "/other,")).unwrap();
    };
    let ((begun, _), ()) = tokio::join!(scene.serve(1), changes);
    assert_eq!((begun.len(), *script.recovered.lock().unwrap()), (0, 2), "there is no password");
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_run_is_not_tried_again_before_its_time() {
    let scene =
        scene("2026-11-21T10:00:00Z", DAILY).newest(Ok(None)).step(Duration::ZERO, Outcome::Incomplete);
    assert_eq!(times(&scene.serve(4).await.0), ["21 10:00:00"]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_due_during_a_run_is_one_run_after_it() {
    let minutely = "{repository: /r, sources: /s, cacheDir: /proc/none, schedule: '*/10 * * * *'}";
    let slow = scene("2026-11-21T10:00:00Z", minutely)
        .newest(Ok(Some("2026-11-21T10:00:00Z")))
        .step(Duration::from_secs(35 * 60), Outcome::Complete);
    let (begun, _) = slow.serve(1).await;
    assert_eq!(times(&begun), ["21 10:10:00", "21 10:45:00", "21 10:50:00"]);
    assert_eq!(begun[1].1, Trigger::Schedule { due: at("2026-11-21T10:20:00Z") });
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_the_run_and_not_the_agent() {
    let scene = scene("2026-11-21T10:00:00Z", DAILY).newest(Ok(None)).step(Duration::ZERO, None);
    let (begun, _) = scene.serve(1).await;
    assert_eq!(times(&begun), ["21 10:00:00", "21 10:00:30"]);
    assert_eq!(begun[1].1, Trigger::Retry { failures: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_cannot_be_looked_into_is_asked_again() {
    let away = || Err(RunEnd::failed("away", None));
    let scene = scene("2026-11-21T10:00:00Z", DAILY).newest(away()).newest(away()).newest(Ok(None));
    assert_eq!(times(&scene.serve(1).await.0), ["21 10:01:30"]);
}

#[tokio::test(start_paused = true)]
async fn stopping_cancels_the_run_and_waits_for_it() {
    let long = Duration::from_secs(1_000_000);
    let scene = scene("2026-11-21T10:00:00Z", DAILY).newest(Ok(None)).step(long, Outcome::Complete);
    let (begun, record) = scene.serve(1).await;
    assert_eq!(begun.len(), 1);
    assert_eq!(record.unwrap().end.outcome, Outcome::Stopped);
}

#[tokio::test(start_paused = true)]
async fn bad_settings_and_a_missing_password_are_states_that_heal() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    let credentials = directory.path().join("credentials");
    std::fs::write(&file, "{repository: /r, sources: /s, cacheDir: /proc/none, schedule: 0 0 30 2 *}")
        .unwrap();
    let scene = scene_with("2026-11-21T10:00:00Z", Some(file.clone()), Environment::default());
    let script = Arc::clone(&scene.script);
    let heals = async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(script.begun.lock().unwrap().is_empty());
        let good = format!(
            "{{repository: /r, sources: /s, cacheDir: /proc/none, schedule: 0 3 * * *, credentialsDir: {}}}",
            credentials.display()
        );
        std::fs::write(&file, good).unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(script.begun.lock().unwrap().is_empty(), "there is no password yet");
        std::fs::create_dir(&credentials).unwrap();
        std::fs::write(credentials.join("RESTIC_PASSWORD"), PASSWORD).unwrap();
    };
    let ((begun, _), ()) = tokio::join!(scene.serve(1), heals);
    assert_eq!(begun.len(), 1, "{begun:?}");
    assert_eq!(begun[0].1, Trigger::First);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_settings_go_on_when_the_file_turns_bad() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, DAILY).unwrap();
    let environment = Environment::from_iter([("RESTIC_PASSWORD", PASSWORD)]);
    let scene = scene_with("2026-11-21T10:00:00Z", Some(file.clone()), environment).newest(Ok(None));
    let breaks = async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        std::fs::write(&file, "nonsense: [").unwrap();
    };
    let ((begun, _), ()) = tokio::join!(scene.serve(18), breaks);
    assert_eq!(times(&begun), ["21 10:00:00", "22 03:00:00"]);
}

/// What is logged by this thread, all of it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_the_store_and_the_sort_of_its_credentials_and_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let directory = tempfile::tempdir().unwrap();
    let (file, credentials) = (directory.path().join("config.yaml"), directory.path().join("credentials"));
    std::fs::create_dir(&credentials).unwrap();
    for (name, value) in [("RESTIC_PASSWORD", PASSWORD), ("AWS_ACCESS_KEY_ID", "hunter2")] {
        std::fs::write(credentials.join(name), value).unwrap();
    }
    let yaml = format!(
        "{{backend: {{s3: {{endpoint: h, bucket: b}}}}, sources: /s, cacheDir: /proc/none, schedule: '@hourly', credentialsDir: {}}}",
        credentials.display()
    );
    std::fs::write(&file, yaml).unwrap();
    let environment = Environment::from_iter([("AWS_SESSION_TOKEN", "hunter4")]);
    let scene = scene_with("2026-11-21T10:00:00Z", Some(file), environment).newest(Ok(None));
    let heals = async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        std::fs::write(credentials.join("AWS_SECRET_ACCESS_KEY"), "hunter3").unwrap();
    };
    let ((begun, _), ()) = tokio::join!(scene.serve(3), heals);
    assert!(begun.len() > 2, "{begun:?}");
    let told = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(told.contains("repository=s3:https://h/b"), "{told}");
    assert!(told.contains("AWS_SECRET_ACCESS_KEY is missing"), "{told}");
    let line = format!("place=\"{}\" store=\"access key\"", credentials.display());
    assert_eq!(told.matches(&line).count(), 1, "{told}");
    assert_eq!(told.matches("does not count: AWS_SESSION_TOKEN").count(), 1, "{told}");
    assert!(!told.contains("hunter"), "{told}");
}

/// Serves an agent whose settings name another repository from minute 10 on; the runs that began within 3 hours.
async fn with_another_repository_from_minute_10(
    script: impl FnOnce(Scene) -> Scene,
) -> Vec<(String, Trigger)> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, DAILY).unwrap();
    let environment = Environment::from_iter([("RESTIC_PASSWORD", PASSWORD)]);
    let scene = script(scene_with("2026-11-21T10:00:00Z", Some(file.clone()), environment));
    let changes = async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        std::fs::write(&file, DAILY.replace("/r,", "/other,")).unwrap();
    };
    let ((begun, _), ()) = tokio::join!(scene.serve(3), changes);
    begun
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_run_that_began_under_older_settings_does_not_stand_for_the_first_one_under_the_new() {
    for outcome in [Outcome::Complete, Outcome::Failed, Outcome::RepositoryReplaced] {
        let begun = with_another_repository_from_minute_10(|scene| {
            scene.newest(Ok(None)).step(HOUR, outcome).newest(Ok(None))
        })
        .await;
        assert_eq!(times(&begun), ["21 10:00:00", "21 11:00:00"], "{outcome}");
        assert_eq!(begun[1].1, Trigger::First, "{outcome}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_that_began_under_older_settings_answers_nothing_for_the_new() {
    let fresh = Ok(Some("2026-11-21T09:00:00Z"));
    for found in [fresh, Err(RunEnd::replaced("another".to_owned(), None))] {
        let begun =
            with_another_repository_from_minute_10(|scene| scene.newest_after(HOUR, found).newest(Ok(None)))
                .await;
        assert_eq!(times(&begun), ["21 11:00:00"]);
        assert_eq!(begun[0].1, Trigger::First);
    }
    let never = with_another_repository_from_minute_10(|scene| {
        scene.newest_after(HOUR, Ok(None)).newest(Ok(Some("2026-11-21T09:00:00Z")))
    });
    assert_eq!(times(&never.await), [""; 0], "the new repository has a snapshot");
}

#[tokio::test(start_paused = true)]
async fn jitter_moves_the_start_and_never_the_time_that_was_due() {
    let yaml = "{repository: /r, sources: /s, cacheDir: /proc/none, schedule: 0 3 * * *, jitter: auto, identity: shop/db}";
    let scene = scene("2026-11-21T10:00:00Z", yaml).newest(Ok(Some("2026-11-21T10:00:00Z")));
    let (begun, record) = scene.serve(48).await;
    let [_, (_, second)] = &begun[..] else { panic!("two runs, not {begun:?}") };
    assert_eq!(*second, Trigger::Schedule { due: at("2026-11-23T03:00:00Z") });
    let late = record.unwrap().started_at - at("2026-11-23T03:00:00Z");
    assert!(late > TimeDelta::zero() && late < TimeDelta::minutes(15), "{late}");
}

/// Serves while somebody from outside does what `outside` does; the runs that began, and the last state.
async fn serve_with<F: Future>(
    scene: Scene,
    outside: impl FnOnce(Handle) -> F,
) -> (Vec<(String, Trigger)>, Arc<State>, F::Output) {
    let (stop, handle, script) = (CancellationToken::new(), scene.agent.handle(), Arc::clone(&scene.script));
    let task = tokio::spawn(scene.agent.serve(stop.clone()));
    let done = outside(handle.clone()).await;
    stop.cancel();
    task.await.expect("the loop ends by itself");
    let begun = std::mem::take(&mut *script.begun.lock().unwrap());
    (begun, handle.state(), done)
}

async fn hours(count: u64) {
    tokio::time::sleep(Duration::from_secs(count * 3600)).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_during_a_run_is_a_run_of_its_own_and_ten_thousand_are_one() {
    let hour = Duration::from_secs(3600);
    let scene = scene("2026-11-21T10:00:00Z", DAILY).newest(Ok(None)).step(hour, Outcome::Complete);
    let (begun, state, numbers) = serve_with(scene, |handle| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let mut numbers = std::collections::BTreeSet::new();
        for _ in 0..10_000 {
            numbers.insert(handle.run(Work::default()).await.unwrap());
        }
        hours(2).await;
        numbers
    })
    .await;
    assert_eq!(times(&begun), ["21 10:00:00", "21 11:00:00"]);
    assert_eq!(begun[1].1, Trigger::Request);
    assert_eq!(numbers.into_iter().collect::<Vec<_>>(), [2]);
    assert!(state.run(2).unwrap().started_at >= state.run(2).unwrap().requested_at);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_ends_as_such_and_is_not_tried_again_before_its_time() {
    let long = Duration::from_secs(1_000_000);
    let scene = scene("2026-11-21T10:00:00Z", DAILY).newest(Ok(None)).step(long, Outcome::Complete);
    let (begun, state, ()) = serve_with(scene, |handle| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let waiting = handle.run(Work::default()).await.unwrap();
        handle.cancel(waiting).await.unwrap();
        let running = handle.state().running.as_ref().unwrap().queued.number;
        handle.cancel(running).await.unwrap();
        hours(2).await;
        assert_eq!(handle.cancel(running).await, Err(Refused::NoSuchRun), "it is over");
    })
    .await;
    assert_eq!(times(&begun), ["21 10:00:00"]);
    let outcomes: Vec<_> = state.runs.iter().map(|run| (run.number, run.end.outcome)).collect();
    assert_eq!(outcomes, [(2, Outcome::Cancelled), (1, Outcome::Cancelled)]);
}

#[tokio::test(start_paused = true)]
async fn while_paused_nothing_begins_by_itself_and_what_was_missed_is_one_run_afterwards() {
    let hourly = "{repository: /r, sources: /s, cacheDir: /proc/none, schedule: '@hourly'}";
    let scene = scene("2026-11-21T10:00:00Z", hourly)
        .newest(Ok(Some("2026-11-21T10:00:00Z")))
        .newest(Ok(Some("2026-11-21T10:00:00Z")));
    let (begun, state, ()) = serve_with(scene, |handle| async move {
        handle.pause(Some(at("2026-11-21T15:30:00Z"))).await.unwrap();
        hours(2).await;
        assert_eq!(handle.state().next_run_at(), None);
        handle.run(Work::default()).await.unwrap();
        hours(4).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    assert_eq!(times(&begun), ["21 12:00:00", "21 15:30:00", "21 16:00:00"]);
    assert_eq!((begun[0].1, begun[1].1.label()), (Trigger::Request, "catch-up"));
    assert_eq!(state.pause, None);
}

#[tokio::test(start_paused = true)]
async fn a_pause_without_an_end_lasts_until_somebody_resumes() {
    let newest = Ok(Some("2026-11-21T03:00:05Z"));
    let scene = scene("2026-11-21T10:00:00Z", DAILY).newest(newest.clone()).newest(newest);
    let (begun, state, ()) = serve_with(scene, |handle| async move {
        handle.pause(None).await.unwrap();
        hours(100).await;
        assert!(handle.state().runs.is_empty());
        handle.resume().await.unwrap();
        hours(1).await;
    })
    .await;
    assert_eq!(times(&begun), ["25 14:00:00"]);
    assert_eq!(state.totals.runs[&(Work::default(), "catch-up", Outcome::Complete)], 1);
}

#[tokio::test(start_paused = true)]
async fn without_settings_nothing_can_be_asked_for_and_a_stopped_agent_says_so() {
    let nothing = scene_with("2026-11-21T10:00:00Z", None, Environment::default());
    let (_, state, handle) = serve_with(nothing, |handle| async move {
        assert_eq!(handle.run(Work::default()).await, Err(Refused::NoSettings));
        handle
    })
    .await;
    assert!(!state.settings.problems.is_empty() && state.settings.refused == 1);
    assert_eq!(handle.run(Work::default()).await, Err(Refused::Stopping));
}

#[tokio::test(start_paused = true)]
async fn what_the_settings_do_not_have_cannot_be_asked_for() {
    let scene = scene("2026-11-21T10:00:00Z", DAILY).newest(Ok(None));
    let (_, _, ()) = serve_with(scene, |handle| async move {
        hours(1).await;
        let files = Work::backup(Some("files".parse().unwrap()));
        assert_eq!(handle.run(files).await, Err(Refused::NoSuchWork));
        assert_eq!(handle.run(Work::CHECK).await, Err(Refused::NoSuchWork));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn somebody_outside_decides_whether_this_agent_backs_up() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    let write = |mode: &str| {
        std::fs::write(&file, DAILY.replace("schedule", &format!("mode: {mode}, schedule"))).unwrap();
    };
    write("standby");
    let environment = Environment::from_iter([("RESTIC_PASSWORD", PASSWORD)]);
    let newest = Ok(Some("2026-11-21T03:00:05Z"));
    let scene = scene_with("2026-11-21T10:00:00Z", Some(file.clone()), environment).newest(newest);
    let (begun, _, ()) = serve_with(scene, |handle| async move {
        hours(48).await;
        assert!(handle.state().runs.is_empty() && handle.state().is_paused());
        assert_eq!(handle.run(Work::default()).await, Err(Refused::NotHere(Mode::Standby)));
        write("stopped");
        hours(1).await;
        assert_eq!(handle.run(Work::default()).await, Err(Refused::NotHere(Mode::Stopped)));
        write("paused");
        hours(1).await;
        assert_eq!(handle.run(Work::default()).await, Ok(1));
        write("active");
        hours(1).await;
    })
    .await;
    assert_eq!(times(&begun), ["23 12:00:00", "23 12:00:10"]);
    assert_eq!((begun[0].1, begun[1].1.label()), (Trigger::Request, "catch-up"));
}
