//! What Azure says that it did not do what it was asked.
//!
//! The code decides: in the body, or in a header where there is no body (an answer to HEAD). Where there is none (a
//! proxy's page) the status does, save that it says nothing of what is missing. Of the details only those are passed on
//! that are known to hold nothing but times and names: others quote signatures.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use crate::ErrorKind;
use crate::remote::{Failed, Heard, Stranger, kind_of_status, retry_after, words};
use crate::transfer::Response;

/// What the service allows a request's date to be off.
const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

const SHOWN_DETAILS: [&str; 5] = [
    "Signature not valid in the specified",
    "Request date header",
    "Lifetime validation failed",
    "Audience validation failed",
    "Issuer validation failed",
];

#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    headers: HeaderMap,
    code: String,
    error: Explanation,
    body: String,
    stranger: Stranger,
}

/// What there is to look at, by who we are to the store.
#[derive(Debug)]
pub(super) struct Hint {
    /// Where the credentials are not accepted.
    pub credentials: String,
    /// Where they are good, and not for this.
    pub rights: &'static str,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Explanation {
    code: String,
    message: String,
    authentication_error_detail: String,
}

impl Refusal {
    pub(super) async fn read(response: Response, heard: &Heard) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self::new(status, headers, &response.explanation().await, heard)
    }

    fn new(status: StatusCode, headers: HeaderMap, body: &str, heard: &Heard) -> Self {
        let mut error: Explanation =
            quick_xml::de::from_str(body.trim_start_matches('\u{feff}')).unwrap_or_default();
        let of_header = headers.get("x-ms-error-code").and_then(|value| value.to_str().ok());
        let code = match (std::mem::take(&mut error.code), of_header) {
            (code, Some(of_header)) if code.is_empty() => of_header.to_owned(),
            (code, _) => code,
        };
        if !code.is_empty() {
            heard.note();
        }
        Self { status, headers, code, error, body: body.to_owned(), stranger: heard.stranger() }
    }

    /// Whether credentials that were good once would now be better.
    pub(super) fn is_of_credentials(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
            || matches!(
                self.code.as_str(),
                "AuthenticationFailed" | "InvalidAuthenticationInfo" | "NoAuthenticationInformation"
            )
    }

    /// Whether the credentials are good, and not for this.
    pub(super) fn is_of_rights(&self) -> bool {
        matches!(
            self.code.as_str(),
            "AuthorizationFailure"
                | "AuthorizationPermissionMismatch"
                | "AuthorizationResourceTypeMismatch"
                | "InsufficientAccountPermissions"
        )
    }

    pub(super) fn into_failed(self, hint: &Hint) -> Failed {
        if self.code == "ContainerNotFound" {
            return Failed::NoContainer("there is no such container".to_owned());
        }
        Failed::Because {
            kind: self.kind(),
            why: self.sentence(hint).into(),
            retry_after: retry_after(&self.headers),
        }
    }

    /// Whether what does not know it is not the store.
    fn is_of_stranger(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.code.is_empty()
    }

    fn kind(&self) -> ErrorKind {
        match self.code.as_str() {
            "BlobNotFound" => ErrorKind::NotFound,
            // Of an account: what is in one has codes of its own.
            "ResourceNotFound" => ErrorKind::Misconfigured,
            // Both are what an account above its limits answers.
            "ServerBusy" | "OperationTimedOut" => ErrorKind::Throttled,
            // A deleted name is free again after a while.
            "InternalError" | "AccountBeingCreated" | "ContainerBeingDeleted" | "SystemInUse" => {
                ErrorKind::Unavailable
            }
            // The only condition that is ever sent.
            "BlobAlreadyExists" | "ContainerAlreadyExists" | "ConditionNotMet" | "TargetConditionNotMet" => {
                ErrorKind::AlreadyExists
            }
            "InvalidRange" => ErrorKind::OutOfRange,
            // What arrived is not what was announced.
            "Md5Mismatch" => ErrorKind::UnusableBody,
            "InvalidAuthenticationInfo"
            | "PublicAccessNotPermitted"
            | "ContainerDisabled"
            // Somebody protects the blob: with a lease, a policy, or a snapshot.
            | "LeaseIdMissing"
            | "BlobImmutableDueToPolicy"
            | "SnapshotsPresent" => ErrorKind::PermissionDenied,
            "BlobArchived" | "BlobBeingRehydrated" | "UnsupportedHeader" | "UnsupportedHttpVerb" => {
                ErrorKind::Unsupported
            }
            // Another sort of blob has the name, or another sort of account.
            "InvalidBlobType" | "ResourceTypeMismatch" | "FeatureVersionMismatch" => ErrorKind::Misconfigured,
            // It says nothing of what the store has.
            _ if self.is_of_stranger() => self.stranger.kind,
            // Every code above that has this status is spelled out: the rest is two who do something at one time.
            _ if self.status == StatusCode::CONFLICT => ErrorKind::Unavailable,
            // And what is not met here is no condition of ours.
            _ if self.status == StatusCode::PRECONDITION_FAILED => ErrorKind::PermissionDenied,
            _ => kind_of_status(self.status),
        }
    }

    fn sentence(&self, hint: &Hint) -> String {
        let Self { code, error: Explanation { message, .. }, .. } = self;
        // Further lines hold identifiers of the request.
        let message = message.lines().next().unwrap_or_default().trim_end_matches('.');
        if self.is_of_credentials() {
            return self.sentence_on_credentials(&hint.credentials);
        }
        let mut sentence = match (code.as_str(), message) {
            ("", _) => words::of_status(self.status, &self.body),
            ("ResourceNotFound", _) => {
                "there is no such account at this endpoint (ResourceNotFound)".to_owned()
            }
            ("BlobArchived" | "BlobBeingRehydrated", _) => {
                format!("the blob is archived and must be rehydrated first ({code})")
            }
            ("SnapshotsPresent", _) => {
                "the blob has snapshots, which protect it (SnapshotsPresent)".to_owned()
            }
            (code, "") => code.to_owned(),
            (code, message) => format!("{message} ({code})"),
        };
        if self.is_of_rights() {
            sentence.push_str(&format!("; {}", hint.rights));
        }
        if self.is_of_stranger() {
            sentence.push_str(self.stranger.hint);
        }
        sentence + &words::of_redirect(self.status, &self.headers)
    }

    /// The service's own message speaks of headers, and an answer to HEAD has none.
    fn sentence_on_credentials(&self, hint: &str) -> String {
        let detail = self.error.authentication_error_detail.lines().next().unwrap_or_default();
        let is_about_date = detail.starts_with("Request date header");
        let code = if self.code.is_empty() { self.status.as_str() } else { &self.code };
        if is_about_date || self.skew().is_some_and(|skew| skew > MAX_SKEW) {
            let date = self.header("date").unwrap_or("another time");
            return format!(
                "the store does not accept the request's date ({code}); the store's clock says {date}: set this \
                 machine's"
            );
        }
        let mut sentence = format!("the store does not accept the credentials ({code}): {hint}");
        if SHOWN_DETAILS.iter().any(|start| detail.starts_with(start)) {
            sentence.push_str(&format!("; {}", detail.trim_end_matches('.')));
        }
        sentence
    }

    /// How far the store's clock is from ours.
    fn skew(&self) -> Option<Duration> {
        let theirs = httpdate::parse_http_date(self.header("date")?).ok()?;
        let ours = SystemTime::now();
        ours.duration_since(theirs).or_else(|_| theirs.duration_since(ours)).ok()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[cfg(test)]
mod tests;
