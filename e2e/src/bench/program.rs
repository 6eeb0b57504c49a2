//! A program under measurement: the command lines of restic's words, which both sides understand.
//!
//! Each program has its own repository and cache directory. Nothing of the caller's environment reaches it:
//! default options are what is measured.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::data::remove_directory_if_there;
use super::measure;
use super::work::Step;
use crate::servers::{FOREIGN, RepositoryAccess};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Restic,
    Pillion,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Restic, Self::Pillion];

    pub fn noun(self) -> &'static str {
        match self {
            Self::Restic => "restic",
            Self::Pillion => "pillion",
        }
    }
}

#[derive(Debug)]
pub struct Program {
    pub side: Side,
    binary: PathBuf,
    /// Repository, cache, password, restored files and logs; nothing else is in it.
    place: PathBuf,
    /// What was restored in earlier rounds.
    aside: PathBuf,
    /// Where the repository is, if not in a directory.
    store: Option<RepositoryAccess>,
}

impl Program {
    pub fn new(side: Side, binary: &Path, directory: &Path) -> Result<Self> {
        ensure!(binary.is_file(), "{} is missing: there is no file {}", side.noun(), binary.display());
        let binary = binary.canonicalize()?;
        Ok(Self { side, binary, place: directory.join(side.noun()), aside: aside(directory), store: None })
    }

    /// The same program, with its repository in a store.
    #[must_use]
    pub fn with_store(self, access: RepositoryAccess) -> Self {
        Self { store: Some(access), ..self }
    }

    /// The first line the program says of its version: restic knows the verb, others the flag.
    pub fn version(&self) -> Result<String> {
        let mut output = self.command().arg("--version").output()?;
        if !output.status.success() {
            output = self.command().arg("version").output()?;
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().next().unwrap_or("unknown version").to_owned())
    }

    pub fn repository(&self) -> PathBuf {
        self.place.join("repository")
    }

    /// Where this program's files are, its own to use.
    pub fn place(&self) -> &Path {
        &self.place
    }

    pub fn store(&self) -> Option<&RepositoryAccess> {
        self.store.as_ref()
    }

    fn location(&self) -> OsString {
        match &self.store {
            Some(store) => store.location.clone().into(),
            None => self.repository().into(),
        }
    }

    pub fn restored(&self) -> PathBuf {
        self.place.join("restored")
    }

    fn password(&self) -> PathBuf {
        self.place.join("password")
    }

    pub fn log(&self) -> PathBuf {
        self.place.join("log")
    }

    /// Leaves an empty repository and no cache. Files are cut as in `like`: where they are cut by chance, so many more or
    /// fewer bytes change with them that sizes could not be compared.
    pub fn begin(&self, like: Option<&Self>) -> Result<()> {
        self.remove()?;
        fs::create_dir_all(&self.place)?;
        fs::write(self.password(), "bench\n")?;
        let mut command = self.with_repository();
        command.arg("init");
        if let Some(other) = like {
            command.arg("--copy-chunker-params").arg("--from-repo").arg(other.location());
            command.arg("--from-password-file").arg(other.password());
        }
        measure::run(&mut command, &self.log()).context("create the repository")?;
        Ok(())
    }

    /// Removes everything this program has made but what it restored, which is put aside: ext4 takes long to find
    /// inodes where many were freed within the last five minutes, at the cost of whoever restores next.
    pub fn remove(&self) -> Result<()> {
        if self.restored().exists() {
            fs::create_dir_all(&self.aside)?;
            let number = fs::read_dir(&self.aside)?.count();
            fs::rename(self.restored(), self.aside.join(number.to_string()))?;
        }
        remove_directory_if_there(&self.place)
    }

    pub fn command_for(&self, step: Step, source: &Path) -> Command {
        let mut command = self.with_repository();
        match step {
            Step::First | Step::Unchanged | Step::Changed => command.arg("backup").arg(source),
            Step::Check => command.args(["check", "--read-data"]),
            Step::Restore => command.args(["restore", "latest", "--target"]).arg(self.restored()),
        };
        command
    }

    fn with_repository(&self) -> Command {
        let mut command = self.command();
        command.arg("-r").arg(self.location());
        if let Some(store) = &self.store {
            command.arg("--cacert").arg(&store.ca);
        }
        command.arg("--cache-dir").arg(self.place.join("cache"));
        command.arg("-p").arg(self.password());
        command
    }

    /// Without a repository.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if FOREIGN.iter().chain(&["PILLION_", "GO"]).any(|foreign| upper.starts_with(foreign)) {
                command.env_remove(&name);
            }
        }
        if let Some(store) = &self.store {
            command.envs(store.variables.iter().map(|(name, value)| (name, value)));
        }
        command
    }
}

fn aside(directory: &Path) -> PathBuf {
    directory.join("restored-before")
}

/// Removes what was restored, once nothing is measured any more.
pub fn remove_restored(directory: &Path) -> Result<()> {
    remove_directory_if_there(&aside(directory))
}

/// Bytes of all files below `directory`, as their lengths say.
pub fn size_bytes(directory: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))? {
        let entry = entry?;
        total +=
            if entry.file_type()?.is_dir() { size_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(total)
}
