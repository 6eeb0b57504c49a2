//! A location becomes a store: what both doors put around it, and how a password opens what is in it.
//!
//! The one place that builds the options of a store and tries its calls again, and that knows what a password may have
//! too much of. Making a store touches nothing: whether anything is there, the first call tells.

use std::sync::Arc;
use std::time::Duration;

use pillion_backend::Backend;
use pillion_backend::clock::StoreClock;
use pillion_backend::limit::Limited;
use pillion_backend::location::Location;
use pillion_backend::measure::{Counts, Measured};
use pillion_backend::open::{BucketLookup, Options, S3Options, open};
use pillion_backend::retry::{Hook, Policy, Retry};
use pillion_backend::secret::Secret;
use pillion_repository::repository::Repository;
use pillion_repository::{Error, Result};

use crate::VERSION;
use crate::access::StoreAccess;
use crate::setting::{MaxConnections, RateLimit};

/// How a store is spoken to, as settings or options of a command say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Of the bucket, where the store has regions and it is not to be found out.
    pub region: Option<String>,
    pub bucket_lookup: BucketLookup,
    /// Any certificate will do.
    pub insecure_tls: bool,
    pub max_connections: MaxConnections,
    pub upload_limit: RateLimit,
    pub download_limit: RateLimit,
}

impl Connection {
    fn options(&self, access: &StoreAccess) -> Options {
        Options {
            ca_certificates: access.ca_certificates.clone(),
            insecure_tls: self.insecure_tls,
            max_connections: self.max_connections.count(),
            upload_limit: self.upload_limit.rate(),
            download_limit: self.download_limit.rate(),
            s3: S3Options {
                region: self.region.clone(),
                usual_region: access.region.clone(),
                bucket_lookup: self.bucket_lookup,
            },
            user_agent: format!("pillion/{VERSION}"),
            ..Options::default()
        }
    }
}

/// Who listens to what a store is asked and answers, for whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct Ears {
    pub counts: Arc<Counts>,
    pub clock: Arc<StoreClock>,
}

/// The store at a location, with retries that are told to `hook`, and every request counted.
pub fn open_backend(
    location: &Location,
    access: &StoreAccess,
    connection: &Connection,
    ears: &Ears,
    hook: Hook,
) -> Result<Arc<dyn Backend>> {
    let options = Options { clock: Arc::clone(&ears.clock), ..connection.options(access) };
    let opened = open(location, &access.credentials, &options)?;
    let opened = Arc::new(Measured::new(opened, Arc::clone(&ears.counts)));
    let limited: Arc<dyn Backend> = match location {
        // What a disk can do at once is the system's to say.
        Location::Local(_) => opened,
        _ => Arc::new(Limited::new(opened)),
    };
    Ok(Arc::new(Retry::new(limited, Policy::default(), hook)))
}

/// Opens a repository with a password as it was given; where no key opens with it, without the end of its line.
pub fn open_repository(password: &Secret, open: impl Fn(&[u8]) -> Result<Repository>) -> Result<Repository> {
    match (open(password.expose()), without_line_end(password)) {
        // Beside a key that cannot be used, this is all that is told of a password that fits no other.
        (Err(Error::WrongPassword | Error::UnusableKey(_)), Some(shorter)) => open(shorter.expose()),
        (opened, _) => opened,
    }
}

/// A password less the line's end that a Secret made with `echo` has; `None` where there is no such end, or nothing else.
pub fn without_line_end(password: &Secret) -> Option<Secret> {
    let without = password.expose().strip_suffix(b"\n")?;
    let without = without.strip_suffix(b"\r").unwrap_or(without);
    (!without.is_empty()).then(|| Secret::new(without))
}

pub fn retry_sentence(error: &pillion_backend::Error, wait: Duration) -> String {
    format!("{error}; trying again in {:.1} s", wait.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    #[test]
    fn a_password_has_one_form_without_its_line_s_end() {
        for (written, shorter) in [
            ("p", None),
            ("p\n", Some("p")),
            ("p\r\n", Some("p")),
            ("p\n\n", Some("p\n")),
            ("p\r", None),
            (" p ", None),
            ("\n", None),
        ] {
            assert_eq!(without_line_end(&Secret::new(written)), shorter.map(Secret::new), "{written:?}");
        }
    }

    #[test]
    fn what_was_said_of_a_store_reaches_it() {
        let location = Location::parse("s3:host/bucket").unwrap();
        let environment = Environment::from_iter([
            ("CA_CERT_DATA", "-----BEGIN CERTIFICATE-----"),
            ("AWS_DEFAULT_REGION", "of-the-environment"),
        ]);
        let access = StoreAccess::of_environment(&location, &environment).unwrap();
        let said = Connection {
            region: None,
            bucket_lookup: BucketLookup::Path,
            insecure_tls: true,
            max_connections: "7".parse().unwrap(),
            upload_limit: "1".parse().unwrap(),
            download_limit: "2".parse().unwrap(),
        };
        let options = said.options(&access);
        assert_eq!(options.ca_certificates, b"-----BEGIN CERTIFICATE-----");
        assert!(options.insecure_tls);
        assert_eq!(options.max_connections, 7);
        assert_eq!(options.upload_limit.unwrap().bytes_per_second(), 1024);
        assert_eq!(options.download_limit.unwrap().bytes_per_second(), 2048);
        assert_eq!(options.s3.region, None);
        assert_eq!(options.s3.usual_region.as_deref(), Some("of-the-environment"));
        assert_eq!(options.s3.bucket_lookup, BucketLookup::Path);
        assert_eq!(options.user_agent, format!("pillion/{VERSION}"));
        let with_region = Connection { region: Some("of-the-settings".to_owned()), ..said };
        assert_eq!(with_region.options(&access).s3.region.as_deref(), Some("of-the-settings"));
    }
}
