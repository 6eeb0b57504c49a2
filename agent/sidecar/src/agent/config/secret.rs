//! Where the agent's credentials come from: the mounted storage Secret if it is there, else the environment.
//!
//! One whole set from one place: half of each would be neither. The directory is read anew for each run, so a rotated
//! Secret needs no restart. A mounted Secret is swapped by turning its `..data` link: every file is read through one
//! resolved target, and all of them again if it was turned meanwhile. No value is ever part of what is told.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use pillion_backend::credentials::{PLACE_NAMES, SECRET_NAMES};
use pillion_backend::location::Location;
use pillion_backend::secret::Secret;

use crate::access::{CA_CERTIFICATES, MAX_CERTIFICATES_BYTES, StoreAccess};
use crate::environment::Environment;
use crate::file;

pub const PASSWORD: &str = "RESTIC_PASSWORD";

/// A value larger than this is a mistaken mount, no credential.
const MAX_BYTES: u64 = 64 << 10;

/// Turned more often within one reading, it is nobody's rotation.
const MAX_READINGS: usize = 4;

/// What a run opens its repository with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// As it was given, to the byte.
    pub password: Secret,
    pub access: StoreAccess,
    /// The directory, or that it is the environment.
    pub place: String,
    /// Something to be told of, once.
    pub warning: Option<String>,
}

/// Why there are no credentials: everything that is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Whether none of the names is anywhere, as where nothing is mounted.
    pub is_absent: bool,
    place: String,
    problems: Vec<String>,
}

impl fmt::Display for Unusable {
    /// One sentence with what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, .. } = self;
        match self.is_absent {
            true => write!(f, "no credentials: mount the Secret at {place} or set variables: ")?,
            false => write!(f, "credentials of {place}: ")?,
        }
        f.write_str(&self.problems.join("; "))
    }
}

/// Reads the credentials for a location.
pub fn load(
    directory: &Path,
    environment: &Environment,
    location: &Location,
) -> Result<Credentials, Unusable> {
    let mounted = read_directory(directory);
    let variables: BTreeMap<_, _> =
        SECRET_NAMES.iter().filter_map(|name| Some((*name, environment.secret(name)?))).collect();
    let shown = directory.display();
    if mounted.is_closed {
        let problems = mounted.problems.into_iter().take(1).collect();
        return Err(Unusable { is_absent: false, place: shown.to_string(), problems });
    }
    let is_mounted = !mounted.values.is_empty() || !mounted.problems.is_empty();
    let warning = if is_mounted { warning(directory, &mounted, &variables) } else { None };
    let (values, mut problems, place) = match is_mounted {
        true => (mounted.values, mounted.problems, shown.to_string()),
        false => (variables, Vec::new(), "the environment".to_owned()),
    };
    let password = match values.get(PASSWORD) {
        Some(password) if !is_only_line_ends(password) => password.clone(),
        given => {
            let problem = if given.is_some() { "is empty" } else { "is missing" };
            // What could not be read is told already.
            if given.is_some() || !problems.iter().any(|told| told.starts_with(PASSWORD)) {
                problems.insert(0, format!("{PASSWORD} {problem}"));
            }
            Secret::new("")
        }
    };
    let access = StoreAccess::read(location, &|name| values.get(name).cloned(), environment);
    match access {
        Ok(access) if problems.is_empty() => Ok(Credentials { password, access, place, warning }),
        access => {
            let is_told = |told: &[String], name: &str| told.iter().any(|problem| problem.starts_with(name));
            for problem in access.err().unwrap_or_default() {
                let name = problem.split([' ', ':']).next().unwrap_or_default();
                if !is_told(&problems, name) {
                    problems.push(problem);
                }
            }
            let is_absent = values.is_empty() && !is_mounted;
            let place = if is_absent { shown.to_string() } else { place };
            Err(Unusable { is_absent, place, problems })
        }
    }
}

fn is_only_line_ends(password: &Secret) -> bool {
    password.expose().iter().all(|byte| matches!(byte, b'\n' | b'\r'))
}

/// What a directory holds.
#[derive(Default)]
struct Mounted {
    values: BTreeMap<&'static str, Secret>,
    /// What is there and could not be read.
    problems: Vec<String>,
    /// Whether nothing at all could be asked for, as where the directory is somebody else's.
    is_closed: bool,
}

fn read_directory(directory: &Path) -> Mounted {
    let resolve = || directory.join("..data").canonicalize().unwrap_or_else(|_| directory.to_owned());
    let mut resolved = resolve();
    let mut mounted = read_files(&resolved);
    for _ in 1..MAX_READINGS {
        let now = resolve();
        if now == resolved {
            break;
        }
        // The old files are removed soon after the link was turned: some may have been missed.
        (resolved, mounted) = (now.clone(), read_files(&now));
    }
    mounted
}

fn read_files(directory: &Path) -> Mounted {
    let mut mounted = Mounted::default();
    for name in SECRET_NAMES {
        let path = directory.join(name);
        let max_bytes = if name == CA_CERTIFICATES { MAX_CERTIFICATES_BYTES } else { MAX_BYTES };
        match file::read_regular(&path, max_bytes) {
            Ok(bytes) => _ = mounted.values.insert(name, Secret::new(bytes.to_vec())),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(e) => mounted.problems.push(format!("{name}: read {}: {e}", path.display())),
        }
    }
    mounted.is_closed = mounted.problems.len() == SECRET_NAMES.len();
    mounted
}

/// That the environment says something else, which does not count: by name, so that nobody looks for it there.
fn warning(
    directory: &Path,
    mounted: &Mounted,
    variables: &BTreeMap<&'static str, Secret>,
) -> Option<String> {
    let others = variables.iter().filter(|(name, value)| match mounted.values.get(*name) {
        None => !PLACE_NAMES.contains(name),
        Some(mounted) => mounted != *value,
    });
    let names: Vec<_> = others.map(|(name, _)| *name).collect();
    (!names.is_empty()).then(|| {
        format!(
            "credentials are read from {}, all of them: what the environment says otherwise does not count: {}",
            directory.display(),
            names.join(", ")
        )
    })
}
