//! A location, credentials and options become a store.
//!
//! The one place that knows all vendors. Touches nothing: whether anything is there, the first call tells.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::azure::Azure;
use crate::b2::B2;
use crate::clock::StoreClock;
use crate::credentials::Credentials;
use crate::local::Local;
use crate::location::Location;
use crate::remote::Remote;
use crate::s3::S3;
use crate::transfer::Transfer;
use crate::{Backend, Error, ErrorKind, Operation, Result};

/// Requests in flight at once, unless set.
pub const DEFAULT_MAX_CONNECTIONS: usize = 5;

/// How a store is spoken to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Trusted beside the public ones: certificates in PEM, from `CA_CERT_DATA`.
    pub ca_certificates: Vec<u8>,
    /// Any certificate will do.
    pub insecure_tls: bool,
    pub max_connections: usize,
    pub upload_limit: Option<Rate>,
    pub download_limit: Option<Rate>,
    /// A connection without progress for this long is given up.
    pub idle_timeout: Duration,
    pub s3: S3Options,
    /// What the program calls itself.
    pub user_agent: String,
    /// Told of the store's time; a directory has none of its own.
    pub clock: Arc<StoreClock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ca_certificates: Vec::new(),
            insecure_tls: false,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            upload_limit: None,
            download_limit: None,
            idle_timeout: Duration::from_secs(30),
            s3: S3Options::default(),
            user_agent: "pillion".to_owned(),
            clock: Arc::default(),
        }
    }
}

/// Bytes a second, over all requests; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(std::num::NonZeroU64);

impl Rate {
    pub fn bytes_per_second(self) -> u64 {
        self.0.get()
    }

    /// `None` for nothing, which is no rate.
    pub fn new(bytes_per_second: u64) -> Option<Self> {
        std::num::NonZeroU64::new(bytes_per_second).map(Self)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Options {
    /// Where the bucket is, if it is not to be found out.
    pub region: Option<String>,
    /// Where it is if neither that nor the host's name says it.
    pub usual_region: Option<String>,
    pub bucket_lookup: BucketLookup,
}

/// Where a bucket's name stands in a URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketLookup {
    /// In the host's name at AWS, in the path elsewhere.
    #[default]
    Auto,
    Host,
    Path,
}

/// The store at a location, for credentials that were read for it. Nothing is tried again; put
/// [`crate::retry::Retry`] around it.
pub fn open(location: &Location, credentials: &Credentials, options: &Options) -> Result<Arc<dyn Backend>> {
    let wrong = |why: String| {
        Error::new(ErrorKind::Misconfigured, Operation::Open, location.to_string()).because(why)
    };
    let transfer = || Transfer::new(options).map_err(wrong);
    match (location, credentials) {
        (Location::Local(path), _) => Ok(Arc::new(Local::new(absolute(path)?))),
        (Location::S3(location), Credentials::S3(credentials)) => {
            let s3 = S3::new(transfer()?, location, credentials, &options.s3).map_err(wrong)?;
            Ok(Arc::new(Remote::new(s3, location.prefix.clone(), options.max_connections)))
        }
        (Location::Azure(location), Credentials::Azure(credentials)) => {
            let azure = Azure::new(transfer()?, location, credentials).map_err(wrong)?;
            Ok(Arc::new(Remote::new(azure, location.prefix.clone(), options.max_connections)))
        }
        (Location::B2(location), Credentials::B2(credentials)) => {
            let b2 = B2::new(transfer()?, location, credentials, options.max_connections).map_err(wrong)?;
            Ok(Arc::new(Remote::new(b2, location.prefix.clone(), options.max_connections)))
        }
        (Location::S3(_) | Location::Azure(_) | Location::B2(_), _) => {
            Err(wrong("the credentials are those of another store".to_owned()))
        }
    }
}

/// A relative path means the directory of now, whatever the process does later.
fn absolute(path: &Path) -> Result<std::path::PathBuf> {
    std::path::absolute(path).map_err(|source| {
        Error::new(ErrorKind::Misconfigured, Operation::Open, path.display().to_string()).because(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_touches_nothing_and_pins_the_path() {
        let location = Location::parse("some/where").unwrap();
        let store = open(&location, &Credentials::Local, &Options::default()).unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(store.location(), here.join("some/where").display().to_string());
        assert!(!here.join("some").exists());
    }
}
