//! Who may ask what, decided before anything is done.
//!
//! | listener | needs |
//! | --- | --- |
//! | Unix socket | nothing: the file's rights are the key |
//! | loopback | a token for what snapshots hold and for what hooks wait for: every container of the pod comes here, and whoever forwards a port |
//! | any other address | a token, for everything |
//!
//! A request that changes something needs the header `X-Pillion-Request`, which no form of a web page can send.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Context;
use super::problem::Problem;
use super::token;
use crate::agent::config::http::HEADER;

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Socket,
    Loopback,
    Network,
}

/// What a token is needed for on the loopback address, and all below.
const GUARDED: [&str; 2] = ["/v1/snapshots", "/v1/exec"];

/// What has to be reached to show a token.
const OPEN: [&str; 4] = ["/", "/page.css", "/page.js", "/v1/session"];

pub(super) async fn guard(
    State((context, door)): State<(Context, Door)>,
    mut request: Request,
    next: Next,
) -> Response {
    match check(&context, door, &request) {
        Ok(()) => {
            request.extensions_mut().insert(door);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn check(context: &Context, door: Door, request: &Request) -> Result<(), Problem> {
    let (path, headers) = (request.uri().path(), request.headers());
    if door == Door::Loopback && !names_this_machine(headers) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "foreign-host",
            "the header Host names another machine: ask for localhost or 127.0.0.1",
        ));
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && headers.get(HEADER).is_none_or(axum::http::HeaderValue::is_empty) {
        let detail = "a request that changes something needs the header X-Pillion-Request, with any value";
        return Err(Problem::new(StatusCode::FORBIDDEN, "header-missing", detail));
    }
    let needs_token = match door {
        Door::Socket => false,
        Door::Loopback => GUARDED.iter().any(|guarded| {
            path.strip_prefix(guarded).is_some_and(|below| below.is_empty() || below.starts_with('/'))
        }),
        Door::Network => !OPEN.contains(&path),
    };
    match needs_token {
        true => token::check(context, headers),
        false => Ok(()),
    }
}

/// A page of a stranger whose name suddenly means 127.0.0.1 still sends its own name.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered_on_the_loopback_address() {
        let named =
            |host: &str| names_this_machine(&HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]));
        for host in ["localhost", "LOCALHOST:27412", "127.0.0.1:1", "[::1]:27412", "[::1]"] {
            assert!(named(host), "{host}");
        }
        for host in ["example.com", "example.com:27412", "localhost.example.com", "127.0.0.1.nip.io:80", ""] {
            assert!(!named(host), "{host}");
        }
        assert!(names_this_machine(&HeaderMap::new()));
    }
}
