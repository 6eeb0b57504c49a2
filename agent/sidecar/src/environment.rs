//! The environment, read once at the start and handed on: nothing else asks the process for a variable.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use pillion_backend::secret::Secret;

/// The variables as they were when the process began. Values are never shown: some are passwords.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The value as raw bytes, for passwords and paths. An empty value counts as none, as restic has it.
    pub fn raw(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The value as a secret.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.raw(name).map(|value| Secret::new(value.as_encoded_bytes()))
    }

    /// The value as text; one that is not UTF-8 has replacement characters, so that it is not taken for missing.
    pub fn text(&self, name: &str) -> Option<String> {
        self.raw(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// The value as text, or that it is none: for settings, which are refused with their name.
    pub fn utf8(&self, name: &str) -> Result<Option<&str>, &'static str> {
        self.raw(name).map(|value| value.to_str().ok_or("is not UTF-8")).transpose()
    }

    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.raw(name).map(PathBuf::from)
    }

    /// Where temporary files go.
    pub fn temporary_directory(&self) -> PathBuf {
        self.path("TMPDIR").unwrap_or_else(|| "/tmp".into())
    }

    /// The same variables, where those that begin with `other` take the place of those that begin with `prefix`: for
    /// a second repository beside the first.
    #[must_use]
    pub fn with_other_prefix(&self, prefix: &str, other: &str) -> Self {
        let name_of = |name: &OsString| name.to_str().unwrap_or_default().to_owned();
        let kept = self.0.iter().filter(|(name, _)| !name_of(name).starts_with(prefix));
        let renamed = self.0.iter().filter_map(|(name, value)| {
            let rest = name_of(name).strip_prefix(other)?.to_owned();
            Some((OsString::from(format!("{prefix}{rest}")), value.clone()))
        });
        Self(kept.map(|(name, value)| (name.clone(), value.clone())).chain(renamed).collect())
    }

    /// The names that begin with `prefix`, in order.
    pub fn names_with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0.keys().filter_map(|name| name.to_str()).filter(move |name| name.starts_with(prefix))
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
