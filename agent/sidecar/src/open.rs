//! A location becomes a store: what both doors put around it.

use std::sync::Arc;
use std::time::Duration;

use pillion_backend::Backend;
use pillion_backend::credentials::Credentials;
use pillion_backend::location::Location;
use pillion_backend::open::{Options, open};
use pillion_backend::retry::{Hook, Policy, Retry};

/// The store at a location, with retries that are told to `hook`.
pub fn open_backend(location: &Location, hook: Hook) -> pillion_repository::Result<Arc<dyn Backend>> {
    let opened = open(location, &Credentials::Local, &Options::default())?;
    Ok(Arc::new(Retry::new(opened, Policy::default(), hook)))
}

pub fn retry_sentence(error: &pillion_backend::Error, wait: Duration) -> String {
    format!("{error}; trying again in {:.1} s", wait.as_secs_f64())
}

/// A location with the password of its URL hidden.
pub fn redact_location(location: &str) -> String {
    let Some((scheme, rest)) = location.split_once("://") else { return location.to_owned() };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
        Some((user, host)) => format!("{scheme}://{user}:***@{host}{path}"),
        None => location.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::redact_location;

    #[test]
    fn a_password_in_a_location_is_not_shown() {
        for (location, shown) in [
            ("rest:https://user:hunter2@host:8000/x@y", "rest:https://user:***@host:8000/x@y"),
            ("rest:https://host/user:pw@x", "rest:https://host/user:pw@x"),
            ("/a:b@c", "/a:b@c"),
        ] {
            assert_eq!(redact_location(location), shown);
        }
    }
}
