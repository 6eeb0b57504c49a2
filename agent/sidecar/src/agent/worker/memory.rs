//! How much memory a worker may take: what the container's limit leaves beside the agent.
//!
//! Where a container reaches its limit the kernel may end every process of it at once, as Kubernetes asks it to. So a worker
//! bounds itself before: its own allocation fails then, which ends it alone.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, Rlimit, setrlimit};

/// For what grows in the agent meanwhile, and for what the kernel counts and no process asked for.
const RESERVE_BYTES: u64 = 12 << 20;

/// Less is of no use: then the kernel is to decide.
const LEAST_BYTES: u64 = 24 << 20;

/// The hierarchy as a container sees it: itself at the top.
const CGROUP: &str = "/sys/fs/cgroup";

/// Bounds this process, and makes it the first that a kernel short of memory looks at.
pub(super) fn bound_this_process() {
    // Anybody may make his own process the first to go.
    if let Err(error) = fs::write("/proc/self/oom_score_adj", "1000") {
        tracing::debug!(%error, "the kernel is not told whom to end first");
    }
    let Some(bytes) = left(Path::new(CGROUP)) else { return };
    match setrlimit(Resource::Data, Rlimit { current: Some(bytes), maximum: Some(bytes) }) {
        Ok(()) => tracing::debug!(bytes, "this process takes no more memory than that"),
        Err(error) => tracing::debug!(%error, "this process cannot bound its memory"),
    }
}

/// What the limit leaves, if there is one.
fn left(directory: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
    // `max` is no number.
    let limit: u64 = read("memory.max")?.trim().parse().ok()?;
    let statistics = read("memory.stat")?;
    // The rest of what is counted, such as pages of files, the kernel takes back.
    let held: u64 = statistics.lines().find_map(|line| line.strip_prefix("anon "))?.trim().parse().ok()?;
    Some(limit.saturating_sub(held).saturating_sub(RESERVE_BYTES).max(LEAST_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_limit_leaves_is_less_than_what_is_held_and_there_may_be_none() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        assert_eq!(left(directory.path()), None);
        write("memory.max", "max\n");
        write("memory.stat", "anon 16777216\nfile 99\n");
        assert_eq!(left(directory.path()), None);
        write("memory.max", "134217728\n");
        assert_eq!(left(directory.path()), Some((128 - 16 - 12) << 20));
        write("memory.max", "16777216\n");
        assert_eq!(left(directory.path()), Some(LEAST_BYTES));
    }
}
