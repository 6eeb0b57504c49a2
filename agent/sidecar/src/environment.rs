//! The environment, read once at the start and handed on: nothing else asks the process for a variable.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use pillion_backend::secret::Secret;
use zeroize::Zeroizing;

/// The variables as they were when the process began. Values are never shown, and overwritten when dropped: some are
/// passwords.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, Zeroizing<Vec<u8>>>,
    exposed: Option<String>,
}

impl Environment {
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// The same and one more variable.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut variables = self.variables.clone();
        variables.insert(name.into(), Zeroizing::new(value.into()));
        Self { variables, exposed: self.exposed.clone() }
    }

    /// The same, known to be readable in what the system shows of the process, and why it has to be.
    #[must_use]
    pub fn readable_by_others(self, why: &str) -> Self {
        Self { exposed: Some(why.to_owned()), ..self }
    }

    /// Why others can read these variables, where that was to be prevented.
    pub fn exposed(&self) -> Option<&str> {
        self.exposed.as_deref()
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = (&OsStr, &[u8])> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_slice()))
    }

    /// What they take where they are written as `NAME=VALUE`, each with an end.
    pub(crate) fn size_bytes(&self) -> usize {
        self.variables().map(|(name, value)| name.len() + value.len() + 2).sum()
    }

    /// The value as raw bytes, for passwords and paths. An empty value counts as none, as restic has it.
    pub fn raw(&self, name: &str) -> Option<&OsStr> {
        let value = self.variables.get(OsStr::new(name)).map(|value| OsStr::from_bytes(value));
        value.filter(|value| !value.is_empty())
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
        let kept = self.variables.iter().filter(|(name, _)| !name_of(name).starts_with(prefix));
        let renamed = self.variables.iter().filter_map(|(name, value)| {
            let rest = name_of(name).strip_prefix(other)?.to_owned();
            Some((OsString::from(format!("{prefix}{rest}")), value.clone()))
        });
        let variables = kept.map(|(name, value)| (name.clone(), value.clone())).chain(renamed).collect();
        Self { variables, exposed: self.exposed.clone() }
    }

    /// The names that begin with `prefix`, in order.
    pub fn names_with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.variables.keys().filter_map(|name| name.to_str()).filter(move |name| name.starts_with(prefix))
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let own = |value: V| Zeroizing::new(value.into().into_vec());
        let variables = variables.into_iter().map(|(name, value)| (name.into(), own(value))).collect();
        Self { variables, exposed: None }
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}
