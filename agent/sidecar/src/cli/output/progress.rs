//! Progress of a running job: counters that the engine moves, looked at by one thread.
//!
//! On a terminal a bar ten times a second; in a log a line every ten seconds; with `--json` restic's `status`
//! message every second. `RESTIC_PROGRESS_FPS` changes the rate. The thread ends when the guard is dropped.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::ProgressStyle;
use pillion_repository::event::Progress;
use serde::Serialize;

use super::{Output, Style, Verbosity, format};
use crate::environment::Environment;

/// What the job is, for the words of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Backup,
    Restore,
    /// Packs, trees or snapshots being read: counts without a `--json` message, as in restic.
    Check,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub files_done: u64,
    pub bytes_done: u64,
    pub files_total: u64,
    pub bytes_total: u64,
    pub errors: u64,
    pub files_skipped: u64,
    pub bytes_skipped: u64,
    pub files_deleted: u64,
}

impl Sample {
    pub fn of(progress: &Progress) -> Self {
        Self {
            files_done: progress.files_done.load(Ordering::Relaxed),
            bytes_done: progress.bytes_done.load(Ordering::Relaxed),
            files_total: progress.files_total.load(Ordering::Relaxed),
            bytes_total: progress.bytes_total.load(Ordering::Relaxed),
            errors: progress.errors.load(Ordering::Relaxed),
            files_skipped: progress.files_skipped.load(Ordering::Relaxed),
            bytes_skipped: progress.bytes_skipped.load(Ordering::Relaxed),
            files_deleted: progress.files_deleted.load(Ordering::Relaxed),
        }
    }
}

/// Bytes a second over the last two minutes.
#[derive(Debug, Default)]
pub struct Rate {
    samples: VecDeque<(Duration, u64)>,
}

const RATE_WINDOW: Duration = Duration::from_secs(120);
/// Samples closer together than this add nothing to the rate but memory.
const RATE_STEP: Duration = Duration::from_secs(1);

impl Rate {
    pub fn add(&mut self, elapsed: Duration, bytes_done: u64) {
        if self.samples.back().is_some_and(|(last, _)| elapsed < *last + RATE_STEP) {
            return;
        }
        self.samples.push_back((elapsed, bytes_done));
        while self.samples.len() > 2 && self.samples[1].0 + RATE_WINDOW <= elapsed {
            self.samples.pop_front();
        }
    }

    pub fn bytes_per_second(&self) -> u64 {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else { return 0 };
        let seconds = (last.0 - first.0).as_secs_f64();
        if seconds > 0.0 { (last.1.saturating_sub(first.1) as f64 / seconds) as u64 } else { 0 }
    }

    pub fn seconds_left(&self, sample: &Sample) -> Option<u64> {
        let left = sample.bytes_total.checked_sub(sample.bytes_done).filter(|left| *left > 0)?;
        match self.bytes_per_second() {
            0 => None,
            rate => Some(left.div_ceil(rate)),
        }
    }
}

/// The status for people, without the bar.
pub fn status_text(kind: Kind, sample: &Sample, rate: &Rate, elapsed: Duration) -> String {
    let elapsed = format::duration(elapsed);
    let noun = if kind == Kind::Restore { "files/dirs" } else { "files" };
    let done = format::bytes(sample.bytes_done);
    if sample.files_total == 0 {
        return format!("[{elapsed}] {} {noun}, {done}, {} errors", sample.files_done, sample.errors);
    }
    let percent = format::percent(sample.bytes_done, sample.bytes_total);
    let mut text = format!(
        "[{elapsed}] {percent}  {} {noun} {done}, total {} {noun} {}, {} errors",
        sample.files_done,
        sample.files_total,
        format::bytes(sample.bytes_total),
        sample.errors,
    );
    if let Some(seconds) = rate.seconds_left(sample) {
        let eta = format::duration(Duration::from_secs(seconds));
        text += &format!("  {}/s ETA {eta}", format::bytes(rate.bytes_per_second()));
    }
    text
}

#[derive(Serialize)]
#[serde(untagged)]
enum StatusMessage {
    Backup {
        message_type: &'static str,
        #[serde(skip_serializing_if = "is_zero")]
        seconds_elapsed: u64,
        #[serde(skip_serializing_if = "is_zero")]
        seconds_remaining: u64,
        percent_done: f64,
        #[serde(skip_serializing_if = "is_zero")]
        total_files: u64,
        #[serde(skip_serializing_if = "is_zero")]
        files_done: u64,
        #[serde(skip_serializing_if = "is_zero")]
        total_bytes: u64,
        #[serde(skip_serializing_if = "is_zero")]
        bytes_done: u64,
        #[serde(skip_serializing_if = "is_zero")]
        error_count: u64,
    },
    Restore {
        message_type: &'static str,
        #[serde(skip_serializing_if = "is_zero")]
        seconds_elapsed: u64,
        percent_done: f64,
        #[serde(skip_serializing_if = "is_zero")]
        total_files: u64,
        #[serde(skip_serializing_if = "is_zero")]
        files_restored: u64,
        #[serde(skip_serializing_if = "is_zero")]
        files_skipped: u64,
        #[serde(skip_serializing_if = "is_zero")]
        files_deleted: u64,
        #[serde(skip_serializing_if = "is_zero")]
        total_bytes: u64,
        #[serde(skip_serializing_if = "is_zero")]
        bytes_restored: u64,
        #[serde(skip_serializing_if = "is_zero")]
        bytes_skipped: u64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// restic's `status` message; none for a check.
pub fn status_json(kind: Kind, sample: &Sample, rate: &Rate, elapsed: Duration) -> Option<String> {
    let percent_done = match sample.bytes_total {
        0 => 0.0,
        total => sample.bytes_done as f64 / total as f64,
    };
    let message_type = "status";
    let seconds_elapsed = elapsed.as_secs();
    let message = match kind {
        Kind::Backup => StatusMessage::Backup {
            message_type,
            seconds_elapsed,
            seconds_remaining: rate.seconds_left(sample).unwrap_or(0),
            percent_done,
            total_files: sample.files_total,
            files_done: sample.files_done,
            total_bytes: sample.bytes_total,
            bytes_done: sample.bytes_done,
            error_count: sample.errors,
        },
        Kind::Restore => StatusMessage::Restore {
            message_type,
            seconds_elapsed,
            percent_done,
            total_files: sample.files_total,
            files_restored: sample.files_done,
            files_skipped: sample.files_skipped,
            files_deleted: sample.files_deleted,
            total_bytes: sample.bytes_total,
            bytes_restored: sample.bytes_done,
            bytes_skipped: sample.bytes_skipped,
        },
        Kind::Check => return None,
    };
    Some(super::to_json(&message))
}

/// The pause between two looks. `None`: nothing is shown.
pub fn interval(output: &Output, environment: &Environment) -> Option<Duration> {
    if output.verbosity == Verbosity::Quiet {
        return None;
    }
    let rate: Option<f64> = environment.text("RESTIC_PROGRESS_FPS").and_then(|text| text.parse().ok());
    if let Some(rate) = rate.filter(|rate| *rate > 0.0) {
        return Some(Duration::from_secs_f64((1.0 / rate.min(60.0)).min(86_400.0)));
    }
    Some(match (output.style, output.bar()) {
        (Style::Json, _) => Duration::from_secs(1),
        (Style::Text, Some(_)) => Duration::from_millis(100),
        (Style::Text, None) => Duration::from_secs(10),
    })
}

/// Shows progress until dropped.
#[derive(Debug)]
pub struct Shown {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts to show `progress`.
pub fn show(output: Arc<Output>, kind: Kind, progress: Arc<Progress>, environment: &Environment) -> Shown {
    let Some(interval) = interval(&output, environment) else { return Shown { stop: None, thread: None } };
    let (stop, stopped) = mpsc::channel();
    let watch = move || {
        let started = Instant::now();
        let mut rate = Rate::default();
        while stopped.recv_timeout(interval) == Err(mpsc::RecvTimeoutError::Timeout) {
            let sample = Sample::of(&progress);
            rate.add(started.elapsed(), sample.bytes_done);
            draw(&output, kind, &sample, &rate, started.elapsed());
        }
        if let Some(bar) = output.bar() {
            bar.finish_and_clear();
        }
    };
    // Without a thread there is no progress to see, and the job goes on.
    let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(watch).ok();
    Shown { stop: Some(stop), thread }
}

fn draw(output: &Output, kind: Kind, sample: &Sample, rate: &Rate, elapsed: Duration) {
    if output.style == Style::Json {
        if let Some(message) = status_json(kind, sample, rate, elapsed) {
            output.line(&message);
        }
        return;
    }
    let text = status_text(kind, sample, rate, elapsed);
    let Some(bar) = output.bar() else { return output.line(&text) };
    let template = if sample.bytes_total > 0 { "{wide_bar:.cyan/blue}\n{msg}" } else { "{msg}" };
    bar.set_style(ProgressStyle::with_template(template).expect("the templates are constants"));
    bar.set_length(sample.bytes_total);
    bar.set_position(sample.bytes_done);
    bar.set_message(text);
    bar.tick();
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the drawing thread has been printed and concerns nothing else.
            let _ = thread.join();
        }
    }
}
