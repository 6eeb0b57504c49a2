//! Where a repository is, in restic's words: a path, `local:PATH`, or `s3:`, `azure:`, `b2:` and a bucket.
//!
//! A location may carry a credential (`rest:https://user:password@host/`), so what was given is never repeated in
//! an error, and a [`Location`] keeps only what may be shown. Reads no environment and touches no store.

mod prefix;
mod remote;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

use crate::{Error, ErrorKind, Operation, Result};

pub use prefix::Prefix;
pub use remote::{AzureLocation, B2Location, Endpoint, S3Location, Security};

/// The stores restic knows and we do not have.
const OTHER_SCHEMES: [&str; 5] = ["sftp", "rest", "rclone", "swift", "gs"];

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    Local(PathBuf),
    S3(S3Location),
    Azure(AzureLocation),
    B2(B2Location),
}

impl Location {
    /// Reads a location as restic does: what begins with the name of a store and a colon is one there; else it is
    /// a path, which must not hold a colon unless it begins with `/`, `./` or `../`. A store this version does
    /// not have is [`ErrorKind::Unsupported`], everything else that is wrong [`ErrorKind::Misconfigured`].
    pub fn parse(text: &str) -> Result<Self> {
        if text.contains('\0') {
            return Err(wrong("it holds a zero byte"));
        }
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) => (scheme, Some(rest)),
            None => (text, None),
        };
        match (scheme, rest) {
            ("", None) => Err(wrong("none is given")),
            ("local", Some("")) => Err(wrong("there is no path after local:")),
            ("local", Some(path)) => Ok(Self::Local(path.into())),
            ("s3", Some(rest)) => S3Location::parse(rest).map(Self::S3).map_err(wrong),
            ("azure", Some(rest)) => AzureLocation::parse(rest).map(Self::Azure).map_err(wrong),
            ("b2", Some(rest)) => B2Location::parse(rest).map(Self::B2).map_err(wrong),
            // restic takes the bare word for the store too, so it is no path for either of us.
            ("local", None) => Err(wrong("for a directory of that name write ./local")),
            ("s3" | "azure" | "b2", None) => Err(wrong("after the store's name come a colon and a bucket")),
            (other, _) if OTHER_SCHEMES.contains(&other) => {
                Err(Error::new(ErrorKind::Unsupported, Operation::Open, format!("{other} store"))
                    .because("this version has s3, azure, b2 and local directories"))
            }
            (_, Some(_)) if !["/", "./", "../"].iter().any(|start| text.starts_with(start)) => {
                Err(wrong("there is no such store; if it is a directory, write local: before it"))
            }
            _ => Ok(Self::Local(text.into())),
        }
    }
}

fn wrong(why: &str) -> Error {
    Error::new(ErrorKind::Misconfigured, Operation::Open, "location").because(why)
}

impl fmt::Display for Location {
    /// Parsing it gives the same location again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) if path.is_absolute() => write!(f, "{}", path.display()),
            Self::Local(path) => write!(f, "local:{}", path.display()),
            Self::S3(s3) if s3.prefix.as_str().is_empty() => write!(f, "s3:{}/{}", s3.endpoint, s3.bucket),
            Self::S3(s3) => write!(f, "s3:{}/{}/{}", s3.endpoint, s3.bucket, s3.prefix),
            Self::Azure(azure) => write!(f, "azure:{}:/{}", azure.container, azure.prefix),
            Self::B2(b2) => write!(f, "b2:{}:/{}", b2.bucket, b2.prefix),
        }
    }
}
