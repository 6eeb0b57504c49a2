//! The last words of `backup`, `restore`, `check`, `diff` and `stats`: restic's text and restic's JSON fields.

use std::time::Duration;

use serde::Serialize;

use super::{Output, Style, Verbosity, format};

/// What a backup did. The order of the fields is that of restic's message.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BackupSummary {
    pub files_new: u64,
    pub files_changed: u64,
    pub files_unmodified: u64,
    pub dirs_new: u64,
    pub dirs_changed: u64,
    pub dirs_unmodified: u64,
    pub data_blobs: u64,
    pub tree_blobs: u64,
    pub data_added: u64,
    pub data_added_packed: u64,
    pub total_files_processed: u64,
    pub total_bytes_processed: u64,
    /// Seconds.
    pub total_duration: f64,
    /// RFC 3339.
    pub backup_start: String,
    pub backup_end: String,
    /// The full ID; `None` where no snapshot was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

impl BackupSummary {
    pub fn print(&self, output: &Output) {
        if output.style == Style::Json {
            return output.json(&Typed { message_type: "summary", fields: self });
        }
        let tell = |text: String| output.tell(Verbosity::Essential, &text);
        tell(String::new());
        let counts = |word: &str, new: u64, changed: u64, unmodified: u64| {
            format!("{word:<12} {new:5} new, {changed:5} changed, {unmodified:5} unmodified")
        };
        tell(counts("Files:", self.files_new, self.files_changed, self.files_unmodified));
        tell(counts("Dirs:", self.dirs_new, self.dirs_changed, self.dirs_unmodified));
        output.tell(Verbosity::Verbose, &format!("Data Blobs:  {:5} new", self.data_blobs));
        output.tell(Verbosity::Verbose, &format!("Tree Blobs:  {:5} new", self.tree_blobs));
        let verb = if self.dry_run { "Would add" } else { "Added" };
        let (added, stored) = (format::bytes(self.data_added), format::bytes(self.data_added_packed));
        tell(format!("{verb} to the repository: {added:<5} ({stored:<5} stored)"));
        tell(String::new());
        let took = format::duration(Duration::try_from_secs_f64(self.total_duration).unwrap_or_default());
        let bytes = format::bytes(self.total_bytes_processed);
        tell(format!("processed {} files, {bytes} in {took}", self.total_files_processed));
        match &self.snapshot_id {
            _ if self.dry_run => {}
            Some(id) => tell(format!("snapshot {} saved", id.get(..8).unwrap_or(id))),
            None => tell("skipped creating snapshot".to_owned()),
        }
    }
}

/// What a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RestoreSummary {
    #[serde(skip_serializing_if = "is_zero")]
    pub seconds_elapsed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub total_files: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub files_restored: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub files_skipped: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub files_deleted: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub total_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_restored: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_skipped: u64,
}

impl RestoreSummary {
    pub fn print(&self, output: &Output) {
        if output.style == Style::Json {
            return output.json(&Typed { message_type: "summary", fields: self });
        }
        let took = format::duration(Duration::from_secs(self.seconds_elapsed));
        let (bytes, total_bytes) = (format::bytes(self.bytes_restored), format::bytes(self.total_bytes));
        let (files, total_files) = (self.files_restored, self.total_files);
        let mut text = match files == total_files && self.bytes_restored == self.total_bytes {
            true => format!("Summary: Restored {total_files} files/dirs ({total_bytes}) in {took}"),
            false => {
                format!(
                    "Summary: Restored {files} / {total_files} files/dirs ({bytes} / {total_bytes}) in {took}"
                )
            }
        };
        if self.files_skipped > 0 {
            text +=
                &format!(", skipped {} files/dirs {}", self.files_skipped, format::bytes(self.bytes_skipped));
        }
        if self.files_deleted > 0 {
            text += &format!(", deleted {} files/dirs", self.files_deleted);
        }
        output.tell(Verbosity::Essential, &text);
    }
}

/// What a check found, in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckSummary {
    pub num_errors: u64,
    /// Full IDs; restic writes `null` for none.
    pub broken_packs: Option<Vec<String>>,
    pub suggest_repair_index: bool,
    pub suggest_prune: bool,
}

impl CheckSummary {
    pub fn print(&self, output: &Output) {
        match output.style {
            Style::Json => output.json(&Typed { message_type: "summary", fields: self }),
            Style::Text if self.num_errors == 0 => output.tell(Verbosity::Essential, "no errors were found"),
            // The failure that follows says it.
            Style::Text => {}
        }
    }
}

/// One side of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiffSide {
    pub files: u64,
    pub dirs: u64,
    pub others: u64,
    pub data_blobs: u64,
    pub tree_blobs: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiffSummary {
    /// The snapshots as they were named on the command line.
    pub source_snapshot: String,
    pub target_snapshot: String,
    pub changed_files: u64,
    pub added: DiffSide,
    pub removed: DiffSide,
}

impl DiffSummary {
    pub fn print(&self, output: &Output) {
        if output.style == Style::Json {
            return output.json(&Typed { message_type: "statistics", fields: self });
        }
        let (added, removed) = (&self.added, &self.removed);
        let counts = |word: &str, new: u64, gone: u64| format!("{word:<12} {new:5} new, {gone:5} removed");
        output.line("");
        let files = counts("Files:", added.files, removed.files);
        output.line(&format!("{files}, {:5} changed", self.changed_files));
        output.line(&counts("Dirs:", added.dirs, removed.dirs));
        output.line(&counts("Others:", added.others, removed.others));
        output.line(&counts("Data Blobs:", added.data_blobs, removed.data_blobs));
        output.line(&counts("Tree Blobs:", added.tree_blobs, removed.tree_blobs));
        output.line(&format!("  Added:   {:<5}", format::bytes(added.bytes)));
        output.line(&format!("  Removed: {:<5}", format::bytes(removed.bytes)));
    }
}

/// What `stats` counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    pub total_size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub total_uncompressed_size: u64,
    #[serde(skip_serializing_if = "is_nothing")]
    pub compression_ratio: f64,
    /// Percent of the plain bytes that were compressed at all.
    #[serde(skip_serializing_if = "is_nothing")]
    pub compression_progress: f64,
    #[serde(skip_serializing_if = "is_nothing")]
    pub compression_space_saving: f64,
    #[serde(skip_serializing_if = "is_zero")]
    pub total_file_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub total_blob_count: u64,
    pub snapshots_count: u64,
}

impl Stats {
    pub fn print(&self, output: &Output, mode: &str) {
        if output.style == Style::Json {
            return output.json(self);
        }
        output.line(&format!("Stats in {mode} mode:"));
        let line = |word: &str, figure: String| output.line(&format!("{word:>24}:  {figure}"));
        let bytes = |count: u64| format!("{:<5}", format::bytes(count));
        line("Snapshots processed", self.snapshots_count.to_string());
        if self.total_blob_count > 0 {
            line("Total Blob Count", self.total_blob_count.to_string());
        }
        if self.total_file_count > 0 {
            line("Total File Count", self.total_file_count.to_string());
        }
        if self.total_uncompressed_size > 0 {
            line("Total Uncompressed Size", bytes(self.total_uncompressed_size));
        }
        line("Total Size", bytes(self.total_size));
        if self.compression_progress > 0.0 {
            line("Compression Progress", format!("{:.2}%", self.compression_progress));
        }
        if self.compression_ratio > 0.0 {
            line("Compression Ratio", format!("{:.2}x", self.compression_ratio));
        }
        if self.compression_space_saving > 0.0 {
            line("Compression Space Saving", format!("{:.2}%", self.compression_space_saving));
        }
    }
}

#[derive(Serialize)]
struct Typed<'a, T> {
    message_type: &'static str,
    #[serde(flatten)]
    fields: &'a T,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_nothing(number: &f64) -> bool {
    *number == 0.0
}
