//! What B2 says that it did not do what it was asked.
//!
//! The code in the body decides, and where there is none (an answer to HEAD, a proxy's page) the status does. What is
//! told of it never holds the token of the request, which B2 likes to repeat.

use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::ErrorKind;
use crate::remote::{Failed, kind_of_status, retry_after};
use crate::transfer::Response;

/// Why a request came to nothing, and what of it tells how to ask again.
#[derive(Debug)]
pub(super) struct Refusal {
    /// `None` where there was no answer at all.
    status: Option<StatusCode>,
    explanation: Explanation,
    failed: Failed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Explanation {
    code: String,
    message: String,
}

impl Explanation {
    /// Whether what arrived is not what was announced.
    fn is_of_digest(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        message.contains("sha1") || message.contains("checksum")
    }
}

impl From<Failed> for Refusal {
    fn from(failed: Failed) -> Self {
        Self { status: None, explanation: Explanation::default(), failed }
    }
}

impl Refusal {
    pub(super) async fn read(response: Response, token: &HeaderValue) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut explanation: Explanation =
            serde_json::from_str(&response.explanation().await).unwrap_or_default();
        if let Ok(token) = token.to_str() {
            explanation.message = explanation.message.replace(token, "...");
        }
        let why = sentence(status, &explanation);
        let failed = match explanation.code.as_str() {
            "bad_bucket_id" | "invalid_bucket_id" => {
                Failed::NoContainer("the bucket is not there any more".to_owned())
            }
            _ => {
                let kind = kind(status, &explanation);
                Failed::Because { kind, why: why.into(), retry_after: retry_after(&headers) }
            }
        };
        Self { status: Some(status), explanation, failed }
    }

    /// The refusal of a call. A call is always there: where it is not, and nothing says what is missing, something else
    /// than B2 answers, and nothing is to be taken for removed.
    pub(super) fn of_call(mut self) -> Self {
        if self.status == Some(StatusCode::NOT_FOUND) && self.explanation.code.is_empty() {
            self.failed = Failed::because(ErrorKind::Misconfigured, "what answers is not B2");
        }
        self
    }

    /// Whether another token may do. An answer to HEAD does not say why.
    pub(super) fn is_of_token(&self) -> bool {
        self.status == Some(StatusCode::UNAUTHORIZED)
            && matches!(self.explanation.code.as_str(), "expired_auth_token" | "bad_auth_token" | "")
    }

    /// Whether an upload may do at another URL, at once: the storage pod behind this one is full, busy or gone, which
    /// is nothing special. A body that a pod does not want is often cut off before its answer can be read.
    pub(super) fn is_of_upload_url(&self) -> bool {
        match self.status {
            None => self.failed.is(ErrorKind::Unavailable),
            Some(StatusCode::REQUEST_TIMEOUT) => true,
            Some(status) => {
                status.is_server_error() || self.is_of_token() || self.explanation.code == "auth_token_limit"
            }
        }
    }

    /// Whether it does not say why: an answer to HEAD has no body.
    pub(super) fn is_silent(&self) -> bool {
        let for_good = [ErrorKind::PermissionDenied, ErrorKind::Misconfigured];
        self.status.is_some()
            && self.explanation.code.is_empty()
            && for_good.into_iter().any(|kind| self.failed.is(kind))
    }

    /// Whether B2 does not know the key, or not any more.
    pub(super) fn is_of_key(&self) -> bool {
        self.status == Some(StatusCode::UNAUTHORIZED)
    }

    pub(super) fn failed(&self) -> &Failed {
        &self.failed
    }

    pub(super) fn into_failed(self) -> Failed {
        self.failed
    }
}

fn kind(status: StatusCode, explanation: &Explanation) -> ErrorKind {
    match explanation.code.as_str() {
        "file_not_present" | "no_such_file" | "already_hidden" => ErrorKind::NotFound,
        "duplicate_bucket_name" => ErrorKind::AlreadyExists,
        "cap_exceeded"
        | "storage_cap_exceeded"
        | "transaction_cap_exceeded"
        | "download_cap_exceeded"
        | "too_many_buckets" => ErrorKind::Full,
        // Those that come after another token was got: B2's own servers do not agree yet.
        "expired_auth_token" | "bad_auth_token" | "auth_token_limit" => ErrorKind::Unavailable,
        // Two who write one name at one time.
        _ if status == StatusCode::CONFLICT => ErrorKind::Unavailable,
        // There is no code for it.
        _ if status == StatusCode::BAD_REQUEST && explanation.is_of_digest() => ErrorKind::UnusableBody,
        _ => kind_of_status(status),
    }
}

fn sentence(status: StatusCode, explanation: &Explanation) -> String {
    let Explanation { code, message } = explanation;
    let mut sentence = match (code.as_str(), message.trim_end_matches('.')) {
        ("", _) => format!("the store answers {status}"),
        (code, "") => code.to_owned(),
        (code, message) => format!("{message} ({code})"),
    };
    if code.ends_with("cap_exceeded") {
        sentence.push_str("; the caps are set on the page Caps & Alerts of the Backblaze account");
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_kind() {
        for (status, code, expected) in [
            (400, "bad_request", ErrorKind::Misconfigured),
            (400, "bad_json", ErrorKind::Misconfigured),
            (400, "out_of_range", ErrorKind::Misconfigured),
            (400, "file_not_present", ErrorKind::NotFound),
            (400, "no_such_file", ErrorKind::NotFound),
            (400, "already_hidden", ErrorKind::NotFound),
            (400, "duplicate_bucket_name", ErrorKind::AlreadyExists),
            (400, "too_many_buckets", ErrorKind::Full),
            (400, "cap_exceeded", ErrorKind::Full),
            (400, "auth_token_limit", ErrorKind::Unavailable),
            (401, "unauthorized", ErrorKind::PermissionDenied),
            (401, "unsupported", ErrorKind::PermissionDenied),
            (401, "missing_auth_token", ErrorKind::PermissionDenied),
            (401, "expired_auth_token", ErrorKind::Unavailable),
            (401, "bad_auth_token", ErrorKind::Unavailable),
            (401, "", ErrorKind::PermissionDenied),
            (403, "access_denied", ErrorKind::PermissionDenied),
            (403, "cap_exceeded", ErrorKind::Full),
            (403, "storage_cap_exceeded", ErrorKind::Full),
            (403, "transaction_cap_exceeded", ErrorKind::Full),
            (403, "download_cap_exceeded", ErrorKind::Full),
            (403, "", ErrorKind::PermissionDenied),
            (404, "not_found", ErrorKind::NotFound),
            (408, "request_timeout", ErrorKind::Unavailable),
            (409, "conflict", ErrorKind::Unavailable),
            (416, "range_not_satisfiable", ErrorKind::OutOfRange),
            (429, "too_many_requests", ErrorKind::Throttled),
            (500, "internal_error", ErrorKind::Unavailable),
            (503, "service_unavailable", ErrorKind::Throttled),
            (503, "", ErrorKind::Throttled),
        ] {
            let explanation = Explanation { code: code.to_owned(), message: String::new() };
            assert_eq!(
                kind(StatusCode::from_u16(status).unwrap(), &explanation),
                expected,
                "{status} {code}"
            );
        }
    }

    #[test]
    fn a_body_that_arrived_otherwise_is_known_by_the_words() {
        for message in ["Sha1 did not match data received", "Checksum did not match data received"] {
            let explanation = Explanation { code: "bad_request".to_owned(), message: message.to_owned() };
            assert_eq!(kind(StatusCode::BAD_REQUEST, &explanation), ErrorKind::UnusableBody, "{message}");
            assert_eq!(kind(StatusCode::FORBIDDEN, &explanation), ErrorKind::PermissionDenied, "{message}");
        }
    }

    #[test]
    fn a_cap_is_told_with_where_it_is_set() {
        let said = |code: &str| {
            let explanation = Explanation { code: code.to_owned(), message: "Cap exceeded.".to_owned() };
            sentence(StatusCode::FORBIDDEN, &explanation)
        };
        assert!(said("download_cap_exceeded").starts_with("Cap exceeded (download_cap_exceeded); "));
        assert!(said("cap_exceeded").contains("Caps & Alerts"));
        assert_eq!(said("access_denied"), "Cap exceeded (access_denied)");
    }
}
