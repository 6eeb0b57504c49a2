//! Stock restic as the oracle of tests: where it is, and a repository it opens in milliseconds.
//!
//! The program is the one `PILLION_TEST_RESTIC` names, else the one `make tools` unpacks below the
//! workspace's `target/tools`, else the one in `PATH`, if it is new enough. Where there is none the test
//! fails and says what to run: an oracle that is not asked proves nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use data_encoding::BASE64;
use pillion_backend::FileKind;
use pillion_repository::format::blob::Compression;
use pillion_repository::format::config::{Config, Version};
use pillion_repository::format::file;
use pillion_repository::format::key::KeyFile;
use tempfile::TempDir;

/// The password of every [`Repository`].
pub(crate) const PASSWORD: &str = "password";

/// A key of the repository below, as restic keeps one, but with scrypt's smallest parameters: restic's own
/// choice would cost a third of a second at each call.
const KEY: &str = concat!(
    r#"{"created":"2026-01-01T00:00:00Z","username":"test","hostname":"test","kdf":"scrypt","N":2,"r":1,"p":1,"#,
    r#""salt":"nIUv5TTtN6WFmsofJnSJ1U0iw2ufQy4Us7gPugngwAZv9HXmffTNWwFrCjcbxvmaIQFpu9ZO/Da0SRGiMv9glQ==","#,
    r#""data":"2BV1fWACBtKIP0624Q+m7+8tCbywIkLL0sh5/2mXq87NVeXqjKk6WNdXgYo3NjHD2OIAXqXoNieV8yScRSkp07LumxFSPK8ksltc0spiW+Ea2Dc7NDnIAMxxj9fZAW/4p96DbErgtQfh+08noYi0UMakl9Zsm2J+G6fMH+fW+WrWfyAsTKrzenV9EKGaxRGPyaWfv2iEubkuGS/i6EQ69Q=="}"#,
);
const KEY_ID: &str = "397840ca1adc12976eec03b181dc172a0e0c8072983ff020b29620dd283ad816";
const CONFIG: &str = concat!(
    "EVArVayTTrepAztQo3jiplkjZD7a6gAqbnIkPAut5DsgD+U6IjsanMuJ24OcJDddh3iGPOQ/KmtaLfKBVZot7IP8ON",
    "llNJGx0x2kdW2UMW9SOKLYWad50zHWTQpx3Svl/pxao8V1QvbhPxpx1q/cEKpH3bfBjhBwXYqSdbl/vwcvvU0cDo7h",
    "NzF9osy9w2NwBqNqaQ38MTpR8jc=",
);

/// Stock restic, at least 0.19.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let named = std::env::var_os("PILLION_TEST_RESTIC").map(PathBuf::from);
        let unpacked = workspace.join("target/tools/bin/restic");
        let found = match named {
            Some(named) => is_new_enough(&named).then_some(named),
            None => [unpacked, "restic".into()].into_iter().find(|candidate| is_new_enough(candidate)),
        };
        found.expect("these tests need stock restic 0.19 or newer: run `make tools`")
    })
}

fn is_new_enough(program: &Path) -> bool {
    let Ok(output) = Command::new(program).arg("version").output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text
        .strip_prefix("restic ")
        .unwrap_or_default()
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(0), Some(19))
}

/// An empty repository in a temporary directory.
pub(crate) struct Repository {
    directory: TempDir,
}

impl Repository {
    /// Of version 2.
    pub(crate) fn create() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = BASE64.decode(CONFIG.as_bytes()).expect("base64");
        for name in ["data", "index", "keys", "locks", "snapshots"] {
            std::fs::create_dir(directory.path().join(name)).expect("create a directory");
        }
        std::fs::write(directory.path().join("keys").join(KEY_ID), KEY).expect("write the key");
        std::fs::write(directory.path().join("config"), config).expect("write the config");
        Self { directory }
    }

    /// The same repository in the first version, without compression.
    pub(crate) fn create_version_1() -> Self {
        let created = Self::create();
        let config_file = created.path().join("config");
        let key = KeyFile::decode(KEY.as_bytes()).unwrap().open(PASSWORD.as_bytes()).unwrap();
        let sealed = std::fs::read(&config_file).expect("read the config");
        let json = file::decode(FileKind::Config, &sealed, &key).expect("the key opens the config");
        let config = Config { version: Version::One, ..Config::decode(&json).expect("a config") };
        let sealed = file::encode(FileKind::Config, &config.encode(), &key, Version::One, Compression::Auto);
        std::fs::write(config_file, sealed).expect("write the config");
        created
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// restic on this repository, see [`command`].
    pub(crate) fn command(&self, working_directory: &Path) -> Command {
        command(self.path(), working_directory)
    }
}

/// restic on a repository, with nothing of our environment, run in `working_directory`. It stores the numbers of
/// devices where we do.
pub(crate) fn command(repository: &Path, working_directory: &Path) -> Command {
    let mut command = Command::new(binary());
    command
        .env_clear()
        .env("RESTIC_REPOSITORY", repository)
        .env("RESTIC_PASSWORD", PASSWORD)
        .env("TZ", "UTC")
        .env("RESTIC_FEATURES", "device-id-for-hardlinks=true")
        .arg("--no-cache")
        .current_dir(working_directory);
    command
}

/// Runs a command that has to succeed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().expect("restic starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
