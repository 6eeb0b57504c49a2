//! How a command ends: restic's exit codes, one line of what is wrong, one line of what to do.

use pillion_repository::Error;
use serde::Serialize;

/// A command that did not do all it was asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
    pub hint: Option<String>,
}

/// The exit codes, which are restic's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// Also wrong usage.
    Failed = 1,
    /// A snapshot was taken, and something is not in it.
    Incomplete = 3,
    NoRepository = 10,
    Locked = 11,
    WrongPassword = 12,
    Interrupted = 130,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into(), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The failure of a command that only reads, and could do so without a lock.
    pub fn of_reader(error: Error) -> Self {
        match error.is_denied_lock() {
            true => Self::from(error).hint("use --no-lock where the repository can only be read"),
            false => error.into(),
        }
    }

    pub fn incomplete() -> Self {
        Self { exit: Exit::Incomplete, ..Self::new("at least one source file could not be read") }
    }

    /// As it is printed on standard error.
    pub fn text(&self) -> String {
        let word = if self.exit == Exit::Incomplete { "Warning" } else { "Fatal" };
        let message = super::output::quote::escape_control(&self.message);
        match &self.hint {
            Some(hint) => format!("{word}: {message}\nHint: {hint}"),
            None => format!("{word}: {message}"),
        }
    }

    /// restic's last message with `--json`.
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct ExitError {
            message_type: &'static str,
            code: i32,
            message: String,
        }
        let message = ExitError { message_type: "exit_error", code: self.exit as i32, message: self.text() };
        serde_json::to_string(&message).expect("text and a number are JSON")
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::NoRepository { .. } => Exit::NoRepository,
            Error::Locked(_) => Exit::Locked,
            // restic does not tell the two apart either.
            Error::WrongPassword | Error::NoKey => Exit::WrongPassword,
            Error::Cancelled => Exit::Interrupted,
            _ => Exit::Failed,
        };
        Self { exit, hint: error.hint().map(str::to_owned), message: error.to_string() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(error) => error.into(),
            Err(error) => Self::new(format!("{error:#}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_restics_exit_code() {
        let location = || "/r".to_owned();
        for (error, code) in [
            (Error::NoRepository { location: location(), why: None }, 10),
            (Error::Locked("by host".into()), 11),
            (Error::WrongPassword, 12),
            (Error::Cancelled, 130),
            (Error::OldLayout { location: location() }, 1),
            (Error::Refused("no".into()), 1),
        ] {
            let through_anyhow = Failure::from(anyhow::Error::from(error));
            assert_eq!(through_anyhow.exit as i32, code);
        }
        assert_eq!(Failure::incomplete().exit as i32, 3);
    }

    #[test]
    fn an_error_is_one_line_and_a_hint() {
        let failure = Failure::from(Error::NoRepository { location: "/r\n\u{1b}[2J".into(), why: None });
        assert_eq!(
            failure.text(),
            "Fatal: there is no repository at /r\\n\\x1b[2J\nHint: check the location, or create one with `pillion init`"
        );
        assert_eq!(
            Failure::new("x").json(),
            r#"{"message_type":"exit_error","code":1,"message":"Fatal: x"}"#
        );
    }
}
