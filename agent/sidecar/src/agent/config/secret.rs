//! Where the agent's password comes from: the mounted directory if it is there, else the environment.
//!
//! The directory is read anew for each run, so a rotated Secret needs no restart. A mounted Secret is swapped by
//! turning its `..data` link: every file is read through one resolved target, never half old and half new.

use std::io;
use std::path::Path;

use crate::environment::Environment;
use crate::file;
use pillion_backend::secret::Secret;

pub const PASSWORD: &str = "RESTIC_PASSWORD";

/// A password larger than this is a mistaken mount, not a password.
const MAX_PASSWORD_BYTES: u64 = 64 << 10;

#[derive(Debug)]
pub struct Credentials {
    pub password: Secret,
    /// Something to be told of, once.
    pub warning: Option<String>,
}

/// Reads the credentials of a run. The error is one sentence with what to do.
pub fn load(directory: &Path, environment: &Environment) -> Result<Credentials, String> {
    let from_environment = environment.raw(PASSWORD).map(|value| Secret::new(value.as_encoded_bytes()));
    let from_directory = from_directory(directory)?;
    match (from_directory, from_environment) {
        (Some(password), Some(other)) if password != other => Ok(Credentials {
            password,
            warning: Some(format!(
                "{PASSWORD} is set to something else than the file in {}: the file counts",
                directory.display()
            )),
        }),
        (Some(password), _) | (None, Some(password)) => Ok(Credentials { password, warning: None }),
        (None, None) => Err(format!(
            "no password: set {PASSWORD}, or mount a Secret with a key of that name at {}",
            directory.display()
        )),
    }
}

fn from_directory(directory: &Path) -> Result<Option<Secret>, String> {
    let resolved = directory.join("..data").canonicalize().unwrap_or_else(|_| directory.to_owned());
    let path = resolved.join(PASSWORD);
    let bytes = match file::read_regular(&path, MAX_PASSWORD_BYTES) {
        Ok(bytes) => bytes,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(format!("read {}: {e}", path.display())),
    };
    let trimmed = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let trimmed = trimmed.strip_suffix(b"\r").unwrap_or(trimmed);
    match trimmed.is_empty() {
        true => Err(format!("{} is empty", path.display())),
        false => Ok(Some(Secret::new(trimmed))),
    }
}
