//! Where settings are read from, again and again: flags and environment never change, the file may. It has to be a
//! regular one: a pipe could be read only once.

use std::path::PathBuf;

use super::Config;
use super::raw::{CONFIG_VARIABLE, Raw};
use crate::environment::Environment;
use crate::file;

/// A settings file larger than this is not read: it is a mistaken mount.
const MAX_FILE_BYTES: u64 = 1 << 20;

#[derive(Debug)]
pub struct Source {
    flags: Raw,
    environment: Raw,
    file: Option<PathBuf>,
    /// What the file held when it was last looked at; the error's text where it could not be read.
    seen: Option<Result<String, String>>,
}

/// What one look at the settings found.
#[derive(Debug)]
pub enum Loaded {
    /// The same as at the last look.
    Unchanged,
    Good(Box<Config>),
    /// Every problem, a sentence each.
    Bad(Vec<String>),
}

impl Source {
    /// `file` is the flag's; without it `PILLION_CONFIG` counts. With neither there is no file.
    pub fn new(flags: Raw, environment: &Environment, file: Option<PathBuf>) -> Self {
        Self {
            flags,
            environment: Raw::from_environment(environment),
            file: file.or_else(|| environment.path(CONFIG_VARIABLE)),
            seen: None,
        }
    }

    /// Looks at the file and resolves all layers if it changed since the last look.
    pub fn load(&mut self) -> Loaded {
        let found = self.read_file();
        if self.seen.as_ref() == Some(&found) {
            return Loaded::Unchanged;
        }
        let loaded = match &found {
            Ok(text) => self.resolve(text),
            Err(problem) => Loaded::Bad(vec![problem.clone()]),
        };
        self.seen = Some(found);
        loaded
    }

    fn read_file(&self) -> Result<String, String> {
        let Some(path) = &self.file else { return Ok(String::new()) };
        let bytes = file::read_regular(path, MAX_FILE_BYTES).map_err(|e| self.unread(&e))?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(e) => Err(self.unread(&e)),
        }
    }

    /// Why the file says nothing.
    fn unread(&self, why: &dyn std::fmt::Display) -> String {
        let name = self.file.as_deref().unwrap_or_else(|| "the settings".as_ref());
        format!("read {}: {why}", name.display())
    }

    fn resolve(&self, text: &str) -> Loaded {
        let file = match Raw::from_yaml(text) {
            Ok(file) => file,
            Err(problem) => return Loaded::Bad(vec![self.unread(&problem)]),
        };
        let layers = self.flags.clone().over(self.environment.clone()).over(file);
        match Config::resolve(layers) {
            Ok(config) => Loaded::Good(Box::new(config)),
            Err(problems) => Loaded::Bad(problems),
        }
    }
}
