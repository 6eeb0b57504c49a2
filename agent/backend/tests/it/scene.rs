//! A store at a server, as the program would open it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pillion_backend::credentials::{Credentials, Values};
use pillion_backend::location::Location;
use pillion_backend::open::{Options, open};
use pillion_backend::retry::{Policy, Retry};
use pillion_backend::secret::Secret;
use pillion_backend::{Backend, Error, FileKind, FileName};
use pillion_e2e::servers::{self, Server};

/// A name for a bucket or container that no other test of this process has.
pub(crate) fn fresh_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("pillion-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Options that trust the server.
pub(crate) fn options(server: &Server) -> Options {
    Options { ca_certificates: std::fs::read(server.ca()).unwrap(), ..Options::default() }
}

/// A store with credentials from named values.
pub(crate) fn open_with(
    location: &str,
    values: &[(&str, &str)],
    options: &Options,
) -> Result<Arc<dyn Backend>, Error> {
    let find = |name: &str| values.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let values = Values { secret: &|name| find(name).map(Secret::new), environment: &find };
    let location = Location::parse(location)?;
    open(&location, &Credentials::read(&location, &values).unwrap(), options)
}

/// A user's keys for S3.
pub(crate) fn keys(user: &servers::Credentials) -> [(&'static str, &str); 2] {
    [("AWS_ACCESS_KEY_ID", &user.id), ("AWS_SECRET_ACCESS_KEY", &user.secret)]
}

/// A store in a bucket of an S3 server, as the server's owner.
pub(crate) fn s3(server: &Server, bucket: &str, prefix: &str) -> Arc<dyn Backend> {
    let location = format!("s3:{}/{bucket}/{prefix}", server.endpoint());
    open_with(&location, &keys(server.credentials()), &options(server)).unwrap()
}

/// As the program uses a store: a server may close a connection at any time, and a single call may then fail.
pub(crate) fn tried_again(store: Arc<dyn Backend>) -> Arc<dyn Backend> {
    let policy = Policy { first_delay: Duration::from_millis(50), tries_max: 5, ..Policy::default() };
    Arc::new(Retry::new(store, policy, Box::new(|_, _| {})))
}

pub(crate) fn pack(digit: char) -> FileName {
    FileName::new(FileKind::Pack, &digit.to_string().repeat(64)).unwrap()
}
