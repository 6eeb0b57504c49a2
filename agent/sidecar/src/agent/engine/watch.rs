//! Watches over a job: one that takes too long or does not move is ended, and one that cannot be ended is left alone.
//!
//! The file system of a source may hang, as that of a server that went away does: a thread that asks it for something then
//! stays in the kernel, and no signal reaches it. So jobs have threads of their own, which nothing waits for when the process
//! ends; the lock of such a job is removed from elsewhere, and its source is refused until the thread has returned.
//!
//! What moves is a count of files, of bytes, of things told and of calls to the store. A call to an object store that is
//! under way is no halt: it has bounds of its own, and so has each wait between two tries, a quarter of an hour together.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use pillion_backend::FileKind;
use pillion_backend::location::Location;
use pillion_backend::measure::Counts;
use pillion_repository::event::{Event, Progress, Reporter};
use pillion_repository::lock::GivenUp;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::agent::config::{Bound, Config};
use crate::agent::record::{Outcome, RunEnd};
use crate::duration;

const HINT: &str = "look whether the file system of the source answers: `stat` on it hangs as the agent did";

/// A pack that is made durable on a busy disk takes seconds.
const LOCAL_CALL: Duration = Duration::from_secs(60);

/// How long a job may stand still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) whole: Option<Duration>,
    pub(super) stall: Option<Duration>,
    /// Until the first thing moves: others may hold the lock meanwhile.
    pub(super) first: Duration,
    /// After it was asked to end: threads that are not in the kernel notice within the time of one blob.
    pub(super) end: Duration,
    /// For a lock to be removed.
    pub(super) unlock: Duration,
}

impl Limits {
    pub(super) fn of(config: &Config, whole: Bound) -> Self {
        let seconds = Duration::from_secs;
        let stall = config.stall_timeout.0;
        let first = stall.unwrap_or_default().saturating_add(config.retry_lock);
        Self { whole: whole.0, stall, first, end: seconds(10), unlock: seconds(10) }
    }
}

/// What is seen of a job from outside.
#[derive(Debug)]
pub(super) struct Watch {
    progress: Arc<Progress>,
    pub(super) given_up: GivenUp,
    told: AtomicU64,
    counts: Arc<Counts>,
    /// Whether a call to the store that is under way has a bound of its own.
    is_remote: bool,
}

impl Watch {
    pub(super) fn new(config: &Config, counts: &Arc<Counts>, progress: Arc<Progress>) -> Arc<Self> {
        Arc::new(Self {
            progress,
            given_up: GivenUp::default(),
            told: AtomicU64::new(0),
            counts: Arc::clone(counts),
            is_remote: !matches!(config.repository, Location::Local(_)),
        })
    }

    /// Passes on what is told, and takes it for a sign of life.
    pub(super) fn listen<'a>(&'a self, reporter: &'a dyn Reporter) -> impl Reporter + 'a {
        Listening { watch: self, reporter }
    }

    fn signs(&self) -> [u64; 5] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Progress { files_done, bytes_done, errors, .. } = &*self.progress;
        let about_locks = Some(FileKind::Lock);
        let calls = self
            .counts
            .all()
            .0
            .iter()
            .filter(|((_, kind), _)| *kind != about_locks)
            .map(|(_, c)| c.calls)
            .sum();
        [read(files_done), read(bytes_done), read(errors), read(&self.told), calls]
    }

    /// How long it may stand still now, where that is `limit` if no call to the store is under way.
    fn patience(&self, limit: Duration) -> Option<Duration> {
        match (self.counts.under_way(), self.is_remote) {
            (0, _) => Some(limit),
            (_, true) => None,
            (_, false) => Some(limit.max(LOCAL_CALL)),
        }
    }
}

struct Listening<'a> {
    watch: &'a Watch,
    reporter: &'a dyn Reporter,
}

impl Reporter for Listening<'_> {
    fn report(&self, event: Event<'_>) {
        self.watch.told.fetch_add(1, Ordering::Relaxed);
        self.reporter.report(event);
    }

    fn wants_items(&self) -> bool {
        self.reporter.wants_items()
    }
}

/// The sources whose threads hang.
#[derive(Debug, Default)]
pub(super) struct Stuck(Mutex<Vec<Hung>>);

#[derive(Debug)]
struct Hung {
    sources: Vec<PathBuf>,
    thread: JoinHandle<()>,
}

impl Stuck {
    /// Why there can be no job on these sources now.
    pub(super) fn refusal(&self, sources: &[PathBuf]) -> Option<RunEnd> {
        let mut all = self.all();
        all.retain(|hung| match hung.thread.is_finished() {
            true => {
                tracing::info!(sources = ?hung.sources, "the source that was stuck answers again");
                false
            }
            false => true,
        });
        let hung = all.iter().find(|hung| hung.sources.iter().any(|source| sources.contains(source)))?;
        let message = format!(
            "stuck: {} did not answer an earlier run, one of whose threads still hangs there",
            named(&hung.sources)
        );
        Some(RunEnd::failed(message, Some(HINT)))
    }

    /// What was read by threads that still hang.
    pub(super) fn sources(&self) -> Vec<PathBuf> {
        let all = self.all();
        let hung = all.iter().filter(|hung| !hung.thread.is_finished());
        let mut sources: Vec<PathBuf> = hung.flat_map(|hung| hung.sources.iter().cloned()).collect();
        sources.sort();
        sources.dedup();
        sources
    }

    fn all(&self) -> MutexGuard<'_, Vec<Hung>> {
        self.0.lock().expect("no thread panics with it")
    }
}

fn named(sources: &[PathBuf]) -> String {
    let names: Vec<String> = sources.iter().map(|source| source.display().to_string()).collect();
    match &names[..] {
        [one] => format!("the source {one}"),
        several => format!("one of the sources {}", several.join(", ")),
    }
}

/// Why a job was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Stop,
    Whole(Duration),
    Stall(Duration),
}

/// Does the work on a thread of its own and waits for its end: that of the work, or the watch's. `cancel` is the work's
/// token; its end by somebody else is a stop.
pub(super) async fn over<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RunEnd> + Send + 'static,
    (watch, limits): (&Watch, Limits),
    cancel: CancellationToken,
    sources: &[PathBuf],
    stuck: &Stuck,
) -> Result<T, RunEnd> {
    let (sender, mut receiver) = oneshot::channel();
    let work = move || {
        let done = catch_unwind(AssertUnwindSafe(work));
        let _nobody_waits_any_more = sender.send(done.unwrap_or_else(|panic| Err(bug(&*panic))));
    };
    let spawned = std::thread::Builder::new().name("job".to_owned()).spawn(work);
    let thread = spawned.map_err(|e| RunEnd::failed(format!("start a thread: {e}"), None))?;
    let reason = tokio::select! {
        done = &mut receiver => return done.expect("the thread always sends"),
        () = cancel.cancelled() => Reason::Stop,
        reason = halts(watch, limits) => reason,
    };
    cancel.cancel();
    tokio::select! {
        done = &mut receiver => return explain(done.expect("the thread always sends"), reason, sources),
        () = stands_still(watch, limits.end) => {}
    }
    watch.given_up.give_up(limits.unlock).await;
    stuck.all().push(Hung { sources: sources.to_vec(), thread });
    let source = named(sources);
    let why = match reason {
        Reason::Stop => "the run was to stop".to_owned(),
        Reason::Whole(limit) => format!("the run took longer than {}", duration::format(limit)),
        Reason::Stall(limit) => format!("nothing moved for {}", duration::format(limit)),
    };
    tracing::error!(sources = ?sources, "a thread hangs in the system and is left alone");
    Err(RunEnd::failed(
        format!("{why}, and {source} does not answer: it is refused until it does"),
        Some(HINT),
    ))
}

fn bug(panic: &(dyn Any + Send)) -> RunEnd {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked");
    RunEnd::failed(format!("a bug ended the run: {text}"), None)
}

/// How a run ends that was stopped after `limit`.
pub(super) fn too_long(limit: Duration) -> RunEnd {
    RunEnd::failed(
        format!("it took longer than runTimeout, {}, and was stopped", duration::format(limit)),
        Some("what it stored is used by the next run; set a longer runTimeout"),
    )
}

/// A job that ended because it was asked to says why it was asked.
fn explain<T>(done: Result<T, RunEnd>, reason: Reason, sources: &[PathBuf]) -> Result<T, RunEnd> {
    done.map_err(|end| match (end.outcome, reason) {
        (Outcome::Stopped, Reason::Whole(limit)) => too_long(limit),
        (Outcome::Stopped, Reason::Stall(limit)) => RunEnd::failed(
            format!("nothing moved for {} while {} was read", duration::format(limit), named(sources)),
            Some(HINT),
        ),
        _ => end,
    })
}

/// Ends when the job has taken too long or stood still for too long.
async fn halts(watch: &Watch, limits: Limits) -> Reason {
    let whole = async {
        match limits.whole {
            Some(limit) => {
                tokio::time::sleep(limit).await;
                Reason::Whole(limit)
            }
            None => std::future::pending().await,
        }
    };
    let stall = async {
        let Some(limit) = limits.stall else { return std::future::pending().await };
        let begun = watch.signs();
        tokio::select! {
            () = stands_still(watch, limits.first) => return Reason::Stall(limits.first),
            () = moves(watch, begun) => {}
        }
        stands_still(watch, limit).await;
        Reason::Stall(limit)
    };
    tokio::select! {
        reason = whole => reason,
        reason = stall => reason,
    }
}

/// How often is looked: often enough that a stall is found within a tenth more than its limit.
fn tick(limit: Duration) -> Duration {
    (limit / 10).clamp(Duration::from_millis(10), Duration::from_secs(10))
}

async fn stands_still(watch: &Watch, limit: Duration) {
    let (mut signs, mut since) = (watch.signs(), Instant::now());
    loop {
        tokio::time::sleep(tick(limit)).await;
        let (now, patience) = (watch.signs(), watch.patience(limit));
        if now != signs || patience.is_none() {
            (signs, since) = (now, Instant::now());
        }
        if patience.is_some_and(|patience| since.elapsed() >= patience) {
            return;
        }
    }
}

async fn moves(watch: &Watch, begun: [u64; 5]) {
    while watch.signs()[..4] == begun[..4] {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
