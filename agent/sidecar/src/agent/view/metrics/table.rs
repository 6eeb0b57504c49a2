//! What metrics there are: name, help, labels; one line each, as in the README.
//!
//! A label's values are a closed list, or one for an agent's whole life: a file, a snapshot or a message is never one.

/// In the order in which they are told.
pub const TABLE: &[(&str, &str, &[&str])] = &[
    ("pillion_build_info", "The version that runs, as a label; always 1.", &["version"]),
    (
        "pillion_agent_info",
        "Whose snapshots these are, as the settings say; always 1.",
        &["identity", "host"],
    ),
    ("pillion_start_timestamp_seconds", "When the agent was started.", &[]),
    ("pillion_config_valid", "Whether the settings that are written now are the ones that count.", &[]),
    ("pillion_config_reloads_total", "Changed settings, by whether they were taken over.", &["result"]),
    ("pillion_mode", "What the settings say that the agent is to do, as a label; always 1.", &["mode"]),
    ("pillion_paused", "Whether no run begins by itself.", &[]),
    ("pillion_queued_runs", "Runs that wait to begin.", &[]),
    ("pillion_running", "Whether a run is under way.", &[]),
    (
        "pillion_store_away",
        "Whether the store does not answer, and nothing begins by itself until it does.",
        &[],
    ),
    ("pillion_runs_total", "Runs that ended.", &["kind", "plan", "trigger", "outcome"]),
    ("pillion_run_seconds_total", "Time that runs took.", &["kind", "plan"]),
    ("pillion_last_run_duration_seconds", "How long the newest run took.", &["kind", "plan"]),
    ("pillion_last_run_timestamp_seconds", "When the newest run ended.", &["kind", "plan"]),
    (
        "pillion_last_run_outcome",
        "How the newest run ended: 1 for its outcome, 0 for the others.",
        &["kind", "plan", "outcome"],
    ),
    (
        "pillion_last_success_timestamp_seconds",
        "When the newest snapshot of this agent, or check, was begun.",
        &["kind", "plan"],
    ),
    ("pillion_next_run_timestamp_seconds", "When the next run begins by itself.", &["kind", "plan"]),
    (
        "pillion_overdue_runs",
        "Times that the schedule named since the last success, or without one since the start; 100 at most.",
        &["kind", "plan"],
    ),
    ("pillion_consecutive_failures", "Runs that failed since the last that did not.", &["kind", "plan"]),
    ("pillion_stuck_sources", "Sources that do not answer: no run begins until they do.", &[]),
    (
        "pillion_files_total",
        "Files that were backed up, by what the snapshot before knew of them.",
        &["change"],
    ),
    (
        "pillion_directories_total",
        "Directories that were backed up, by what the snapshot before knew of them.",
        &["change"],
    ),
    ("pillion_processed_bytes_total", "Bytes of all files that are in new snapshots.", &[]),
    ("pillion_added_bytes_total", "Bytes that were added to the repository, as stored.", &[]),
    ("pillion_skipped_total", "Entries that were left out and should not have been.", &["reason"]),
    ("pillion_torn_total", "Files that changed while they were read.", &[]),
    ("pillion_vanished_total", "Entries that were gone before they could be read.", &[]),
    ("pillion_repository_problem", "Whether the repository could not be looked into.", &[]),
    ("pillion_repository_intact", "Whether the newest check found everything there and whole.", &[]),
    ("pillion_repository_size_bytes", "All that the repository holds, as stored.", &[]),
    ("pillion_repository_snapshots", "Snapshots in the repository, also those of others.", &[]),
    (
        "pillion_repository_locks",
        "Locks in the repository; after a run those of others, or left by them.",
        &[],
    ),
    ("pillion_repository_seen_timestamp_seconds", "As of when that is known.", &["what"]),
    ("pillion_store_up", "Whether the store answered the newest request, be it with a refusal.", &[]),
    ("pillion_store_requests_total", "Requests to the store that ended.", &["operation", "file"]),
    (
        "pillion_store_bytes_total",
        "Bytes that were loaded from the store or saved in it.",
        &["operation", "file"],
    ),
    ("pillion_store_errors_total", "Requests to the store that failed.", &["operation", "reason"]),
    ("pillion_store_request_duration_seconds", "How long requests to the store took.", &["operation"]),
    (
        "pillion_store_clock_ahead_seconds",
        "By how much at least the store's clock is ahead of ours; negative where it is behind.",
        &[],
    ),
    (
        "pillion_cache_bytes",
        "What is in the cache directory: kept for later, or packs until they are uploaded.",
        &["use"],
    ),
    ("pillion_cache_budget_bytes", "All that may be in the cache directory.", &[]),
];
