//! A repository, a source and the two programs, with nothing of the environment they run in.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::restic;

pub(crate) struct Scene {
    pub(crate) repository: restic::Repository,
    directory: tempfile::TempDir,
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_pillion"))
}

/// What a program printed; it must not have panicked.
pub(crate) struct Printed {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Printed {
    fn from(output: Output) -> Self {
        let printed = Self {
            code: output.status.code().expect("it was not killed"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        };
        assert!(!printed.err.contains("panicked"), "{}", printed.err);
        printed
    }
}

impl Scene {
    /// A new empty repository and a small source with something of everything.
    pub(crate) fn new() -> Self {
        let scene = Self {
            repository: restic::Repository::create(),
            directory: tempfile::tempdir().expect("a temporary directory"),
        };
        let source = scene.source();
        std::fs::create_dir_all(source.join("sub/deep")).unwrap();
        std::fs::write(source.join("a.txt"), "hello\n").unwrap();
        std::fs::write(source.join("sub/numbers"), numbers(300_000)).unwrap();
        std::fs::write(source.join("sub/deep/empty"), "").unwrap();
        std::fs::hard_link(source.join("a.txt"), source.join("sub/linked")).unwrap();
        std::os::unix::fs::symlink("a.txt", source.join("link")).unwrap();
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.path("source")
    }

    /// Runs a shell script with a disk of 6 MiB at `$MOUNT`, this source at `$SOURCE` and this program as `$P`.
    pub(crate) fn on_a_small_disk(&self, script: &str, variables: &[(&str, &OsStr)]) -> Printed {
        let mount = self.path("mount");
        std::fs::create_dir(&mount).unwrap();
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let template = self.command([""; 0]);
        command.env_clear().envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin");
        command.env("MOUNT", mount).env("SOURCE", self.source()).env("P", program());
        let mounting =
            r#"mount -t tmpfs -o size=6m tmpfs "$MOUNT" || { echo "no right to mount"; exit 99; }"#;
        let script = format!("set -e\n{mounting}\n{script}");
        command.envs(variables.iter().copied());
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        let printed = Printed::from(command.output().unwrap());
        let (out, err) = (&printed.out, &printed.err);
        assert_eq!(printed.code, 0, "this test needs the right to mount a tmpfs: {out}{err}");
        printed
    }

    pub(crate) fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(program());
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.directory.path())
            .env("TZ", "UTC")
            .env("RESTIC_REPOSITORY", self.repository.path())
            .env("RESTIC_PASSWORD", restic::PASSWORD)
            .current_dir(self.directory.path())
            .args(arguments);
        command
    }

    /// Runs pillion, whatever it returns.
    pub(crate) fn run(&self, arguments: &[&str]) -> Printed {
        self.command(arguments).output().expect("pillion starts").into()
    }

    /// Runs pillion, which has to succeed and to complain of nothing.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let printed = self.run(arguments);
        assert_eq!((printed.code, printed.err.as_str()), (0, ""), "{arguments:?}: {}", printed.out);
        printed.out
    }

    /// Runs pillion, which has to fail with `code`, with one line of what is wrong and at most one of what to do.
    /// Returns both.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let printed = self.run(arguments);
        check_failure(&printed, code, &format!("{arguments:?}"));
        printed.err
    }

    pub(crate) fn back_up(&self) -> String {
        self.ok(&["backup", self.source().to_str().unwrap()])
    }

    /// restic, which has to succeed.
    pub(crate) fn restic(&self, arguments: &[&str]) -> String {
        let mut command = self.repository.command(self.directory.path());
        command.env("RESTIC_FEATURES", "device-id-for-hardlinks=true").args(arguments);
        String::from_utf8(restic::run(&mut command).stdout).unwrap()
    }

    /// The IDs of the snapshots, oldest first, as restic sees them.
    pub(crate) fn snapshots(&self) -> Vec<String> {
        let listed: Value = serde_json::from_str(&self.restic(&["snapshots", "--json"])).unwrap();
        listed.as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.repository.path().join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }
}

pub(crate) fn check_failure(printed: &Printed, code: i32, what: &str) {
    assert_eq!(printed.code, code, "{what}: {}{}", printed.out, printed.err);
    let last: Vec<&str> = printed.err.lines().skip_while(|line| !line.starts_with("Fatal: ")).collect();
    assert!(matches!(last.len(), 1 | 2), "{what}: {}", printed.err);
    assert!(last.len() < 2 || last[1].starts_with("Hint: "), "{what}: {}", printed.err);
}

/// Text of many bytes that compresses, but not to nothing.
pub(crate) fn numbers(count: u32) -> String {
    (0..count).map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761))).collect()
}
