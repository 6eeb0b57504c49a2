//! What `backup` and `restore` tell while they work: the engine's events as restic's lines and messages.

use std::sync::Arc;

use pillion_repository::event::{Change, Event, Reporter};
use serde::Serialize;

use super::progress::Kind;
use super::quote::{escape_control, quote};
use super::{Output, Style, Verbosity, format};

/// Prints events of one job.
#[derive(Debug)]
pub struct JobReporter {
    output: Arc<Output>,
    kind: Kind,
}

impl JobReporter {
    pub fn new(output: Arc<Output>, kind: Kind) -> Self {
        Self { output, kind }
    }

    fn during(&self) -> &'static str {
        match self.kind {
            Kind::Backup => "archival",
            Kind::Restore => "restore",
            Kind::Check => "check",
        }
    }

    /// Something that is not as it should be: always told, on standard error.
    fn error(&self, path: &[u8], detail: &str) {
        match self.output.style {
            Style::Text if self.kind == Kind::Restore => {
                self.output.problem(&format!(
                    "ignoring error for {}: {}",
                    quote(path),
                    escape_control(detail)
                ));
            }
            Style::Text => {
                self.output.problem(&format!("error: {}: {}", quote(path), escape_control(detail)));
            }
            Style::Json => self.output.json_problem(&ErrorMessage {
                message_type: "error",
                error: ErrorText { message: detail },
                during: self.during(),
                item: &String::from_utf8_lossy(path),
            }),
        }
    }

    fn item(&self, path: &[u8], change: Change, size_bytes: u64) {
        if !self.wants_items() {
            return;
        }
        let action = action(change);
        let item = String::from_utf8_lossy(path);
        match (self.output.style, self.kind) {
            (Style::Json, Kind::Restore) => self.output.json(&RestoredItem {
                message_type: "verbose_status",
                action,
                item: &item,
                size: size_bytes,
            }),
            (Style::Json, _) => self.output.json(&BackedUpItem {
                message_type: "verbose_status",
                action,
                item: &item,
                data_size: if change == Change::Unchanged { 0 } else { size_bytes },
                ..BackedUpItem::default()
            }),
            (Style::Text, Kind::Restore) => {
                let mut text = format!("{action:<9} {}", quote(path));
                if matches!(change, Change::Updated | Change::Unchanged) || size_bytes > 0 {
                    text += &format!(" with size {}", format::bytes(size_bytes));
                }
                self.output.line(&text);
            }
            (Style::Text, _) if change == Change::Unchanged => {
                self.output.line(&format!("{action:<9} {}", quote(path)));
            }
            (Style::Text, _) => {
                self.output.line(&format!("{action:<9} {}, {}", quote(path), format::bytes(size_bytes)));
            }
        }
    }
}

impl Reporter for JobReporter {
    fn report(&self, event: Event<'_>) {
        let output = &self.output;
        match event {
            Event::Skipped { path, detail, .. } | Event::RestoreProblem { path, detail } => {
                self.error(path, &detail);
            }
            Event::Torn { path } => {
                output.warning(&format!("{} changed while it was read", quote(path)));
            }
            Event::Vanished { path } => {
                output.tell(Verbosity::Verbose, &format!("vanished  {}", quote(path)));
            }
            Event::Excluded { .. } if !self.wants_items() => {}
            Event::Excluded { path } => match output.style {
                Style::Text => output.line(&format!("excluded  {}", quote(path))),
                Style::Json => output.json(&ExcludedItem {
                    message_type: "excluded_item",
                    item: &String::from_utf8_lossy(path),
                }),
            },
            Event::Item { path, change, size_bytes } => self.item(path, change, size_bytes),
            Event::Damage { detail } => match output.style {
                Style::Text => output.problem(&format!("error: {}", escape_control(&detail))),
                Style::Json => {
                    output.json_problem(&DamageMessage { message_type: "error", message: &detail });
                }
            },
            Event::Warning { message } => output.warning(&message),
            Event::Step { message } => output.tell(Verbosity::Essential, &escape_control(&message)),
        }
    }

    /// restic names items from `-vv` on.
    fn wants_items(&self) -> bool {
        self.output.verbosity >= Verbosity::Detailed
    }
}

fn action(change: Change) -> &'static str {
    match change {
        Change::New => "new",
        Change::Modified => "modified",
        Change::Unchanged => "unchanged",
        Change::Restored => "restored",
        Change::Updated => "updated",
        Change::Deleted => "deleted",
    }
}

#[derive(Serialize)]
struct ErrorText<'a> {
    message: &'a str,
}

#[derive(Serialize)]
struct ErrorMessage<'a> {
    message_type: &'static str,
    error: ErrorText<'a>,
    during: &'static str,
    item: &'a str,
}

/// What `check` finds.
#[derive(Serialize)]
struct DamageMessage<'a> {
    message_type: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct ExcludedItem<'a> {
    message_type: &'static str,
    item: &'a str,
}

#[derive(Serialize)]
struct RestoredItem<'a> {
    message_type: &'static str,
    action: &'static str,
    item: &'a str,
    size: u64,
}

/// restic's message whole; what is counted for the run and not for the item stays 0.
#[derive(Default, Serialize)]
struct BackedUpItem<'a> {
    message_type: &'static str,
    action: &'static str,
    item: &'a str,
    duration: f64,
    data_size: u64,
    data_size_in_repo: u64,
    metadata_size: u64,
    metadata_size_in_repo: u64,
    total_files: u64,
}
