//! What a person or a program reads of a command: lines on standard output, problems on standard error.
//!
//! One [`Output`] belongs to a command; every printer writes through it, so that progress bars and lines do not mix.
//! A reader that went away (`| head`) is no error: nothing more is printed, and [`Output::is_closed`] tells the
//! commands that do nothing but print. Names from file systems and repositories pass through [`quote`].

pub mod format;
pub mod found;
pub mod job;
pub mod listing;
pub mod ncdu;
pub mod progress;
pub mod quote;
pub mod summary;
pub mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use format::DisplayZone;

/// How much is told: `-q`, nothing, `-v`, `-vv`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    Quiet,
    #[default]
    Essential,
    Verbose,
    Detailed,
}

/// Text for people or JSON lines for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Text,
    Json,
}

type Sink = Mutex<Box<dyn Write + Send>>;

pub struct Output {
    pub style: Style,
    pub verbosity: Verbosity,
    pub zone: DisplayZone,
    lines: Sink,
    problems: Sink,
    /// On a terminal, the status line below all others.
    bar: Option<ProgressBar>,
    is_closed: AtomicBool,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("style", &self.style).field("verbosity", &self.verbosity).finish()
    }
}

impl Output {
    /// The process's own standard output and error.
    pub fn of_process(style: Style, verbosity: Verbosity, zone: DisplayZone) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let output =
            Self::new(style, verbosity, zone, Box::new(std::io::stdout()), Box::new(std::io::stderr()));
        let has_bar = is_terminal && style == Style::Text && verbosity > Verbosity::Quiet;
        Self { bar: has_bar.then(status_bar), ..output }
    }

    pub fn new(
        style: Style,
        verbosity: Verbosity,
        zone: DisplayZone,
        lines: Box<dyn Write + Send>,
        problems: Box<dyn Write + Send>,
    ) -> Self {
        let (lines, problems) = (Mutex::new(lines), Mutex::new(problems));
        Self { style, verbosity, zone, lines, problems, bar: None, is_closed: AtomicBool::new(false) }
    }

    /// What the command is for: printed whatever the verbosity.
    pub fn line(&self, text: &str) {
        self.write(&self.lines, text);
    }

    /// Part of a line.
    pub fn text(&self, text: &str) {
        self.put(&self.lines, text);
    }

    /// A line for people: nothing with `--json` or below `least`.
    pub fn tell(&self, least: Verbosity, text: &str) {
        if self.style == Style::Text && self.verbosity >= least {
            self.line(text);
        }
    }

    pub fn json(&self, message: &impl Serialize) {
        self.line(&to_json(message));
    }

    /// A line on standard error.
    pub fn problem(&self, text: &str) {
        self.write(&self.problems, text);
    }

    pub fn json_problem(&self, message: &impl Serialize) {
        self.problem(&to_json(message));
    }

    /// What a person may do about what was told, on standard error; a program has the summary.
    pub fn advise(&self, text: &str) {
        if self.style == Style::Text {
            self.problem(text);
        }
    }

    /// Something worth a look that makes nothing incomplete.
    pub fn warning(&self, message: &str) {
        #[derive(Serialize)]
        struct Warning<'a> {
            message_type: &'static str,
            message: &'a str,
        }
        match self.style {
            Style::Text => self.problem(&format!("Warning: {}", quote::escape_control(message))),
            Style::Json => self.json_problem(&Warning { message_type: "warning", message }),
        }
    }

    /// Bytes of a file, for `dump`: an error here is one of the job.
    pub fn raw(&self, bytes: &[u8]) -> std::io::Result<()> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)
    }

    pub fn flush(&self) {
        for sink in [&self.lines, &self.problems] {
            if sink.lock().unwrap_or_else(PoisonError::into_inner).flush().is_err() {
                self.is_closed.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Whether nobody reads any more.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// The bar at the bottom, where there is a terminal to draw it on.
    pub fn bar(&self) -> Option<&ProgressBar> {
        self.bar.as_ref()
    }

    fn write(&self, sink: &Sink, text: &str) {
        self.put(sink, &format!("{text}\n"));
    }

    fn put(&self, sink: &Sink, text: &str) {
        let write = || {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            if sink.write_all(text.as_bytes()).is_err() {
                self.is_closed.store(true, Ordering::Relaxed);
            }
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

fn status_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout_with_hz(10));
    bar.set_style(ProgressStyle::with_template("{msg}").expect("the template is a constant"));
    bar
}

fn to_json(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("messages are plain data with text keys")
}
