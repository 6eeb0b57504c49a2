//! Where a repository is, in restic's words: a path, `local:PATH`, or `SCHEME:...` for the other stores.
//!
//! A location may carry a credential (`rest:https://user:password@host/`), so what was given is never repeated in
//! an error, and a [`Location`] keeps only what may be shown. Reads no environment and touches no store.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::local::Local;
use crate::{Backend, Error, ErrorKind, Operation, Result};

/// The stores restic knows beside the directory.
const OTHER_SCHEMES: [&str; 8] = ["s3", "azure", "b2", "sftp", "rest", "rclone", "swift", "gs"];

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    Local(PathBuf),
}

impl Location {
    /// Reads a location as restic does: what begins with the name of a store and a colon is one there; else it is
    /// a path, which must not hold a colon unless it begins with `/`, `./` or `../`. A store this version does
    /// not have is [`ErrorKind::Unsupported`], everything else that is wrong [`ErrorKind::Misconfigured`].
    pub fn parse(text: &str) -> Result<Self> {
        let wrong =
            |why: &str| Err(Error::new(ErrorKind::Misconfigured, Operation::Open, "location").because(why));
        if text.contains('\0') {
            return wrong("it holds a zero byte");
        }
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) => (scheme, Some(rest)),
            None => (text, None),
        };
        match (scheme, rest) {
            ("", None) => wrong("none is given"),
            ("local", Some("")) => wrong("there is no path after local:"),
            ("local", Some(path)) => Ok(Self::Local(path.into())),
            // restic takes the bare word for the store too, so it is no path for either of us.
            ("local", None) => wrong("for a directory of that name write ./local"),
            (other, _) if OTHER_SCHEMES.contains(&other) => {
                Err(Error::new(ErrorKind::Unsupported, Operation::Open, format!("{other} store"))
                    .because("this version keeps repositories in local directories only"))
            }
            (_, Some(_)) if !["/", "./", "../"].iter().any(|start| text.starts_with(start)) => {
                wrong("there is no such store; if it is a directory, write local: before it")
            }
            _ => Ok(Self::Local(text.into())),
        }
    }
}

impl fmt::Display for Location {
    /// Parsing it gives the same location again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) if path.is_absolute() => write!(f, "{}", path.display()),
            Self::Local(path) => write!(f, "local:{}", path.display()),
        }
    }
}

/// The store at a location. Touches nothing yet: whether anything is there, the first call tells. Nothing is
/// tried again; put [`crate::retry::Retry`] around it.
pub fn open(location: &Location) -> Result<Arc<dyn Backend>> {
    match location {
        Location::Local(path) => Ok(Arc::new(Local::new(absolute(path)?))),
    }
}

/// A relative path means the directory of now, whatever the process does later.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|source| {
        Error::new(ErrorKind::Misconfigured, Operation::Open, path.display().to_string()).because(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_directories() {
        for (text, path) in [
            ("/srv/repo", "/srv/repo"),
            ("/srv/a:b", "/srv/a:b"),
            ("../a:b", "../a:b"),
            ("./s3:x", "./s3:x"),
            ("repo", "repo"),
            ("local:/srv/repo", "/srv/repo"),
            ("local:repo", "repo"),
            ("local:s3:x", "s3:x"),
            ("local:local:x", "local:x"),
            ("s3/x", "s3/x"),
            (" ", " "),
        ] {
            assert_eq!(Location::parse(text).unwrap(), Location::Local(path.into()), "{text}");
        }
    }

    #[test]
    fn what_is_no_location_is_refused() {
        for text in ["", "local", "local:", "a:b", "c:/x", ":x", "S3:x", "file:/x", "/a\0b"] {
            assert_eq!(Location::parse(text).unwrap_err().kind, ErrorKind::Misconfigured, "{text}");
        }
    }

    #[test]
    fn other_stores_are_refused_without_repeating_what_was_given() {
        for scheme in OTHER_SCHEMES {
            for text in [format!("{scheme}:https://user:hunter2@host/"), scheme.to_owned()] {
                let error = Location::parse(&text).unwrap_err();
                assert_eq!(error.kind, ErrorKind::Unsupported, "{text}");
                let said = format!("{error} {error:?}");
                assert!(said.contains(scheme) && said.contains("this version"), "{said}");
                assert!(!said.contains("hunter2") && !said.contains("user"), "{said}");
            }
        }
        let error = Location::parse("rests:https://user:hunter2@host/").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn opening_touches_nothing_and_pins_the_path() {
        let store = open(&Location::parse("some/where").unwrap()).unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(store.location(), here.join("some/where").display().to_string());
        assert!(!here.join("some").exists());
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_to_the_same_location(text in "(local:|/|\\./|\\.\\./|s3|)[a-z:/. ]{0,12}") {
            if let Ok(location) = Location::parse(&text) {
                prop_assert_eq!(Location::parse(&location.to_string()).unwrap(), location);
            }
        }
    }
}
