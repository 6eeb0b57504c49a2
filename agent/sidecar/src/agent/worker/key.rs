//! Keys that ask for more memory than the agent has: opened by a worker, which hands over the repository's master key.
//!
//! A key file is not authenticated before it was opened, and whoever writes to the store may ask for any amount: so there
//! is a bound here too, and what reaches it ends the worker alone.

use std::process::Stdio;

use data_encoding::BASE64;
use pillion_repository::format::key::{self, KeyError, KeyFile};
use pillion_repository::format::{Invalid, crypto::MasterKey};
use pillion_repository::repository::CostlyKeys;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Job, Said};
use crate::environment::Environment;

/// restic asks for 64 MiB at most, whatever the machine.
const MAX_BYTES: u64 = 1 << 30;

/// What opening a key came to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Opened {
    /// As it is sealed in the file.
    Master(String),
    WrongPassword,
    Unusable(String),
}

/// Has costly keys opened by workers.
#[derive(Debug)]
pub(in crate::agent) struct ByWorker {
    pub(in crate::agent) environment: Environment,
    /// The settings, as YAML.
    pub(in crate::agent) settings: String,
}

impl CostlyKeys for ByWorker {
    fn open(&self, file: &[u8], password: &[u8]) -> Result<MasterKey, KeyError> {
        let unusable = |why: String| KeyError::Invalid(Invalid::malformed(why));
        let job = Job::OpenKey {
            file: String::from_utf8_lossy(file).into_owned(),
            password: BASE64.encode(password),
        };
        tracing::debug!("a key that asks for much memory is opened by a process of its own");
        let command = super::command(job, "", &self.settings, &self.environment);
        let output = command.and_then(|mut command| command.stderr(Stdio::inherit()).output());
        let output = output.map_err(|e| unusable(format!("start a process for it: {e}")))?;
        let said = Zeroizing::new(output.stdout);
        match serde_json::from_slice(&said) {
            Ok(Said::Key(Opened::Master(json))) => {
                let json = Zeroizing::new(json);
                Ok(key::decode_master(json.as_bytes())?)
            }
            Ok(Said::Key(Opened::WrongPassword)) => Err(KeyError::WrongPassword),
            Ok(Said::Key(Opened::Unusable(why))) => Err(unusable(why)),
            _ => Err(unusable(format!(
                "it asks for so much memory that the process that opened it ended: {}",
                output.status
            ))),
        }
    }
}

/// The worker's side.
pub(super) fn open(file: &str, password: &str) -> Opened {
    let password = Zeroizing::new(BASE64.decode(password.as_bytes()).unwrap_or_default());
    let opened = KeyFile::decode(file.as_bytes())
        .map_err(KeyError::Invalid)
        .and_then(|file| file.open_within(&password, MAX_BYTES));
    match opened {
        Ok(master) => {
            let json = key::encode_master(&master);
            Opened::Master(String::from_utf8_lossy(&json).into_owned())
        }
        Err(KeyError::WrongPassword) => Opened::WrongPassword,
        Err(error) => Opened::Unusable(error.to_string()),
    }
}
