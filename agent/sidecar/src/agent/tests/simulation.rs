//! Whole days of a world with two plans, checks, a store that goes away and a clock that is changed: which runs begin, to
//! the second.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use super::super::config::plan::PlanName;
use super::*;

/// Tokio's clock, which somebody may set.
#[derive(Clone)]
struct WallClock {
    start: DateTime<Utc>,
    origin: Instant,
    set_by_seconds: Arc<AtomicI64>,
}

impl WallClock {
    fn set_by(&self, seconds: i64) {
        self.set_by_seconds.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for WallClock {
    fn now(&self) -> DateTime<Utc> {
        let set_by = TimeDelta::seconds(self.set_by_seconds.load(Ordering::SeqCst));
        self.start + TimeDelta::from_std(self.origin.elapsed()).unwrap() + set_by
    }
}

/// The store, and what there is in it.
struct World {
    clock: WallClock,
    away: Option<(DateTime<Utc>, DateTime<Utc>)>,
    snapshots: Mutex<BTreeMap<Option<PlanName>, DateTime<Utc>>>,
    begun: Mutex<Vec<String>>,
    looks: Mutex<u32>,
}

impl World {
    fn is_away(&self) -> bool {
        self.away.is_some_and(|(from, to)| (from..to).contains(&self.clock.now()))
    }

    /// A store that does not answer is asked for a quarter of an hour.
    async fn ask(&self, cancel: &CancellationToken) -> Result<(), RunEnd> {
        if !self.is_away() {
            return Ok(());
        }
        tokio::select! {
            () = cancel.cancelled() => Err(RunEnd::stopped()),
            () = tokio::time::sleep(Duration::from_secs(900)) => {
                Err(RunEnd { store_is_away: true, ..RunEnd::failed("the store is away", None) })
            }
        }
    }
}

impl Engine for World {
    async fn newest_snapshots(
        &self,
        config: Arc<Config>,
        _: Credentials,
        cancel: CancellationToken,
    ) -> Result<Newest, RunEnd> {
        *self.looks.lock().unwrap() += 1;
        self.ask(&cancel).await?;
        let snapshots = self.snapshots.lock().unwrap();
        let newest = |plan: &Option<PlanName>| snapshots.get(plan).copied();
        Ok(config.plans.iter().map(|plan| (plan.name.clone(), newest(&plan.name))).collect())
    }

    async fn run(&self, request: RunRequest, cancel: CancellationToken) -> RunEnd {
        let (begun_at, queued) = (self.clock.now(), request.queued);
        let what = format!("{} {}, {}", begun_at.format("%d %T"), queued.work, queued.trigger.label());
        self.begun.lock().unwrap().push(what);
        if let Err(end) = self.ask(&cancel).await {
            return end;
        }
        let minutes = if queued.work.plan_label() == "files" { 180 } else { 10 };
        tokio::time::sleep(Duration::from_secs(minutes * 60)).await;
        self.snapshots.lock().unwrap().insert(queued.work.plan, begun_at);
        RunEnd::empty(Outcome::Complete)
    }
}

const PLANS: &str = "{repository: /r, cacheDir: /proc/none, checkSchedule: 0 12 * * *, plans: {\
                     db: {sources: /db, schedule: 0 */2 * * *}, files: {sources: /files, schedule: 30 3 * * *}}}";

fn world(start: &str, snapshots: &[(&str, &str)]) -> World {
    let set_by_seconds = Arc::default();
    let clock = WallClock { start: at(start), origin: Instant::now(), set_by_seconds };
    let snapshots = snapshots.iter().map(|(plan, time)| (Some(plan.parse().unwrap()), at(time))).collect();
    let (begun, looks) = (Mutex::default(), Mutex::default());
    World { clock, away: None, snapshots: Mutex::new(snapshots), begun, looks }
}

/// Lets an agent serve in the world for as long as `outside` takes; the runs that began.
async fn serve_in<F: Future<Output = ()>>(
    world: World,
    yaml: &str,
    outside: impl FnOnce(Handle, WallClock) -> F,
) -> (Vec<String>, Arc<World>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, yaml).unwrap();
    let environment = Environment::from_iter([("RESTIC_PASSWORD", PASSWORD)]);
    let source = Source::new(Raw::default(), &environment, Some(file));
    let (world, stop) = (Arc::new(world), CancellationToken::new());
    let clock = world.clock.clone();
    let agent = Agent::new(Arc::clone(&world), clock.clone(), source, environment);
    let handle = agent.handle();
    let task = tokio::spawn(agent.serve(stop.clone()));
    outside(handle, clock).await;
    stop.cancel();
    task.await.expect("the loop ends by itself");
    let begun = std::mem::take(&mut *world.begun.lock().unwrap());
    (begun, world)
}

#[tokio::test(start_paused = true)]
async fn a_day_of_two_plans_and_checks_with_an_outage_and_a_pause_is_exactly_these_runs() {
    let mut world = world("2026-11-21T00:30:00Z", &[("db", "2026-11-21T00:00:00Z")]);
    world.away = Some((at("2026-11-21T13:00:00Z"), at("2026-11-21T17:30:00Z")));
    let (begun, _) = serve_in(world, PLANS, |handle, clock| async move {
        tokio::time::sleep(Duration::from_secs(15 * 3600)).await;
        assert!(handle.state().away_since.is_some(), "{}", clock.now());
        tokio::time::sleep(Duration::from_secs(4 * 3600)).await;
        assert_eq!((handle.state().away_since, clock.now()), (None, at("2026-11-21T19:30:00Z")));
        handle.pause(Some(at("2026-11-21T20:45:00Z"))).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5 * 3600)).await;
    })
    .await;
    let expected = [
        // There is none of these files yet, and it takes three hours: what comes due meanwhile comes after it.
        "21 00:30:00 backup of files, first",
        "21 03:30:00 backup of db, schedule",
        "21 03:40:00 backup of files, schedule",
        "21 06:40:00 backup of db, schedule",
        "21 08:00:00 backup of db, schedule",
        "21 10:00:00 backup of db, schedule",
        "21 12:00:00 backup of db, schedule",
        "21 12:10:00 check, schedule",
        // The store went away, and nothing is begun but by somebody until it is back.
        "21 14:00:00 backup of db, schedule",
        "21 17:30:30 backup of db, retry",
        "21 18:00:00 backup of db, schedule",
        // That of 20:00 was passed over.
        "21 20:45:00 backup of db, catch-up",
        "21 22:00:00 backup of db, schedule",
        "22 00:00:00 backup of db, schedule",
    ];
    assert_eq!(begun, expected);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_it_is_asked_at_growing_distance_and_for_a_minute_each() {
    let daily = "{repository: /r, sources: /s, cacheDir: /proc/none, schedule: 0 3 * * *, retries: 0}";
    let mut world = world("2026-11-21T02:00:00Z", &[]);
    world.snapshots.lock().unwrap().insert(None, at("2026-11-20T03:00:00Z"));
    world.away = Some((at("2026-11-21T02:30:00Z"), at("2026-11-23T00:00:00Z")));
    let (begun, world) = serve_in(world, daily, |handle, _| async move {
        hours(40).await;
        assert_eq!(handle.state().next_run_at(), None, "nobody knows when it is back");
        assert_eq!(handle.run(Work::default()).await, Ok(2), "who asks is not kept waiting");
        hours(8).await;
    })
    .await;
    // One catch-up run, though the settings allow no retry.
    let expected =
        ["21 03:00:00 backup, schedule", "22 18:00:00 backup, request", "23 00:10:30 backup, catch-up"];
    assert_eq!(begun, expected);
    let looks = *world.looks.lock().unwrap();
    assert!((150..190).contains(&looks), "{looks} looks in two days, once in a quarter of an hour");
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_run_that_finds_the_store_away_waits_until_it_is_back() {
    let both = "{repository: /r, cacheDir: /proc/none, schedule: 0 3 * * *, plans: {a: {sources: /a}, b: {sources: /b}}}";
    let newest = "2026-11-20T03:00:00Z";
    let mut world = world("2026-11-21T02:00:00Z", &[("a", newest), ("b", newest)]);
    world.away = Some((at("2026-11-21T02:30:00Z"), at("2026-11-21T05:00:00Z")));
    let (begun, _) = serve_in(world, both, |_, _| hours(10)).await;
    let expected = [
        "21 03:00:00 backup of a, schedule",
        "21 05:10:30 backup of b, schedule",
        "21 05:20:30 backup of a, retry",
    ];
    assert_eq!(begun, expected);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_ahead_makes_one_run_and_one_that_is_set_back_makes_none_twice() {
    let hourly = "{repository: /r, sources: /s, cacheDir: /proc/none, schedule: '@hourly'}";
    let world = world("2026-11-21T10:30:00Z", &[]);
    world.snapshots.lock().unwrap().insert(None, at("2026-11-21T10:00:00Z"));
    let (begun, _) = serve_in(world, hourly, |_, clock| async move {
        hours(1).await;
        // At 11:30: a suspended machine.
        clock.set_by(5 * 3600);
        hours(1).await;
        // At 17:30, the clock was wrong by two hours.
        clock.set_by(-2 * 3600);
        hours(2).await;
    })
    .await;
    let expected = [
        "21 11:00:00 backup, schedule",
        "21 16:30:00 backup, schedule",
        "21 17:00:00 backup, schedule",
        "21 16:00:00 backup, schedule",
        "21 17:00:00 backup, schedule",
    ];
    assert_eq!(begun, expected);
}

#[tokio::test(start_paused = true)]
async fn over_the_edges_of_summer_time_a_night_has_one_run() {
    for (start, expected) in [
        ("2026-03-28T12:00:00Z", ["29 01:00:00 backup, schedule", "30 00:30:00 backup, schedule"]),
        ("2026-10-24T12:00:00Z", ["25 00:30:00 backup, schedule", "26 01:30:00 backup, schedule"]),
    ] {
        let nightly = "{repository: /r, sources: /s, cacheDir: /proc/none, schedule: 30 2 * * *, timeZone: Europe/Berlin}";
        let world = world(start, &[]);
        world.snapshots.lock().unwrap().insert(None, at(start));
        let (begun, _) = serve_in(world, nightly, |_, _| hours(40)).await;
        assert_eq!(begun, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_the_settings_lost_while_its_run_waited_is_not_backed_up_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, PLANS).unwrap();
    let clock = WallClock {
        start: at("2026-11-21T10:00:00Z"),
        origin: Instant::now(),
        set_by_seconds: Arc::default(),
    };
    let world = Arc::new(World { clock: clock.clone(), ..world("2026-11-21T10:00:00Z", &[]) });
    let environment = Environment::from_iter([("RESTIC_PASSWORD", PASSWORD)]);
    let source = Source::new(Raw::default(), &environment, Some(file.clone()));
    let agent = Agent::new(Arc::clone(&world), clock, source, environment);
    let (handle, stop) = (agent.handle(), CancellationToken::new());
    let task = tokio::spawn(agent.serve(stop.clone()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(handle.state().queued.len(), 1, "the files wait for the database");
    std::fs::write(&file, PLANS.replace("files: {", "others: {")).unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    stop.cancel();
    task.await.unwrap();
    let state = handle.state();
    let dropped = state.runs.iter().find(|run| run.work.plan_label() == "files").unwrap();
    assert_eq!(dropped.end.outcome, Outcome::Cancelled);
    assert_eq!(dropped.end.message, "the settings no longer have it");
    let begun = world.begun.lock().unwrap().clone();
    assert_eq!(begun, ["21 10:00:00 backup of db, first", "21 10:10:00 backup of others, first"]);
    let nobody = handle.run(Work::default()).await;
    assert_eq!(nobody, Err(Refused::Stopping));
}
