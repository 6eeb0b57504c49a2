//! What the figures were measured on, in one sentence.

use std::fs;
use std::path::Path;

/// Processor, instructions that matter, memory, kernel, and the file system `directory` lies on.
pub fn describe(directory: &Path) -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let gibibytes = field(&memory, "MemTotal")
        .split_whitespace()
        .next()
        .and_then(|kibibytes| kibibytes.parse::<f64>().ok())
        .map_or(0.0, |kibibytes| kibibytes / f64::from(1 << 20));
    let flags = field(&processor, "flags");
    // aarch64 lists `sha2` under "Features".
    let has_sha = flags.split_whitespace().any(|flag| flag == "sha_ni")
        || field(&processor, "Features").split_whitespace().any(|flag| flag == "sha2");
    format!(
        "{cores} cores of {model}, SHA instructions (sha_ni): {sha}, {gibibytes:.0} GiB of memory, Linux {kernel}, {file_system}",
        model = field(&processor, "model name"),
        sha = if has_sha { "yes" } else { "no" },
        kernel = kernel.trim(),
        file_system = file_system(&mounts, directory),
    )
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map_or("unknown", |(_, value)| value.trim())
}

/// The type of the file system that `directory` lies on: the longest mount point wins, the later of two equal ones.
fn file_system(mounts: &str, directory: &Path) -> String {
    let mut best = (0, "unknown");
    for line in mounts.lines() {
        let Some((front, back)) = line.split_once(" - ") else { continue };
        let Some(point) = front.split(' ').nth(4) else { continue };
        if directory.starts_with(point) && point.len() >= best.0 {
            best = (point.len(), back.split(' ').next().unwrap_or("unknown"));
        }
    }
    best.1.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "21 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
                          30 21 0:26 / /home/data rw - xfs /dev/vdb rw\n";

    #[test]
    fn the_innermost_mount_names_the_file_system() {
        assert_eq!(file_system(MOUNTS, Path::new("/home/data/bench")), "xfs");
        assert_eq!(file_system(MOUNTS, Path::new("/home/database")), "ext4");
        assert_eq!(file_system("", Path::new("/home")), "unknown");
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        assert_eq!(field("model\t\t: 85\nmodel name\t: Some CPU\n", "model name"), "Some CPU");
        assert_eq!(field("", "model name"), "unknown");
    }
}
