//! What a store says that it did not do what it was asked.
//!
//! The code in the body decides, and where there is none (an answer to HEAD, a proxy's page) the status does. Only a code
//! says that something is missing: whatever stands before a store has a 404 of its own.

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use crate::ErrorKind;
use crate::remote::{Failed, Heard, Stranger, kind_of_status, retry_after, words};
use crate::transfer::Response;

use super::Call;
use super::identity::Identity;

#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    headers: HeaderMap,
    error: Explanation,
    body: String,
    /// An answer to HEAD has no body.
    is_silent: bool,
    /// What there is to be looked at where a right is missing.
    rights: &'static str,
    stranger: Stranger,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Explanation {
    code: String,
    message: String,
    region: Option<String>,
}

impl Refusal {
    pub(super) async fn read(response: Response, call: &Call<'_>, heard: &Heard) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.explanation().await;
        let error: Explanation = quick_xml::de::from_str(&body).unwrap_or_default();
        if !error.code.is_empty() {
            heard.note();
        }
        let stranger = heard.stranger();
        let is_silent = call.method == Method::HEAD;
        Self { status, headers, error, body, is_silent, rights: rights(&call.method, call.name), stranger }
    }

    /// Where the bucket is, if the refusal is about that.
    pub(super) fn region(&self) -> Option<&str> {
        let is_about_it = self.status.is_redirection()
            || matches!(
                self.error.code.as_str(),
                "AuthorizationHeaderMalformed"
                    | "PermanentRedirect"
                    | "TemporaryRedirect"
                    | "IllegalLocationConstraintException"
            )
            // An answer to HEAD has no code.
            || (self.status == StatusCode::BAD_REQUEST && self.error.code.is_empty());
        if !is_about_it {
            return None;
        }
        let header = self.headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok());
        header.or(self.error.region.as_deref())
    }

    /// Also where it may be, and nothing says: an answer to HEAD has no code.
    pub(super) fn is_of_expired_credentials(&self) -> bool {
        match self.error.code.as_str() {
            "" => self.status == StatusCode::BAD_REQUEST,
            code => matches!(code, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired"),
        }
    }

    pub(super) fn into_failed(self, identity: &Identity) -> Failed {
        if self.error.code == "NoSuchBucket" {
            return Failed::NoContainer("there is no such bucket".to_owned());
        }
        let kind = self.kind();
        let mut why = self.sentence();
        if self.error.code == "RequestTimeTooSkewed"
            && let Some(date) = self.headers.get("date").and_then(|date| date.to_str().ok())
        {
            why.push_str(&format!("; the store's clock says {date}: set this machine's"));
        }
        why.push_str(&words::of_redirect(self.status, &self.headers));
        if self.is_of_stranger() {
            why.push_str(self.stranger.hint);
        }
        let hint = match self.error.code.as_str() {
            "AccessDenied" => Some(self.rights),
            code => identity.hint(code),
        };
        if let Some(hint) = hint {
            why.push_str(&format!("; {hint}"));
        }
        Failed::Because { kind, why: why.into(), retry_after: retry_after(&self.headers) }
    }

    /// Whether what does not know it is not the store.
    fn is_of_stranger(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.error.code.is_empty() && !self.is_silent
    }

    fn kind(&self) -> ErrorKind {
        match self.error.code.as_str() {
            "NoSuchKey" | "NoSuchVersion" => ErrorKind::NotFound,
            "SlowDown"
            | "SlowDownRead"
            | "SlowDownWrite"
            | "ThrottlingException"
            | "TooManyRequests"
            | "RequestLimitExceeded"
            | "BandwidthLimitExceeded" => ErrorKind::Throttled,
            "RequestTimeout"
            | "IncompleteBody"
            | "InternalError"
            | "ServiceUnavailable"
            | "OperationAborted"
            | "ConditionalRequestConflict"
            | "XMinioServerNotInitialized" => ErrorKind::Unavailable,
            "PreconditionFailed" | "BucketAlreadyExists" | "BucketAlreadyOwnedByYou" => {
                ErrorKind::AlreadyExists
            }
            "InvalidRange" => ErrorKind::OutOfRange,
            "AccessDenied"
            | "AccountProblem"
            | "AllAccessDisabled"
            | "ExpiredToken"
            | "InvalidAccessKeyId"
            | "InvalidToken"
            | "RequestTimeTooSkewed"
            | "SignatureDoesNotMatch"
            | "NotSignedUp" => ErrorKind::PermissionDenied,
            "QuotaExceeded"
            | "XMinioAdminBucketQuotaExceeded"
            | "XMinioStorageFull"
            | "StorageFull"
            | "EntityTooLarge" => ErrorKind::Full,
            // What arrived is not what was announced.
            "BadDigest" | "XAmzContentSHA256Mismatch" => ErrorKind::UnusableBody,
            "NotImplemented" => ErrorKind::Unsupported,
            // It says nothing of what the store has.
            _ if self.is_of_stranger() => self.stranger.kind,
            // Two who write one name at one time.
            _ if self.status == StatusCode::CONFLICT => ErrorKind::Unavailable,
            _ => kind_of_status(self.status),
        }
    }

    fn sentence(&self) -> String {
        let Explanation { code, message, .. } = &self.error;
        match (code.as_str(), message.trim_end_matches('.')) {
            ("", _) if self.is_silent => format!("the store answers {}", self.status),
            ("", _) => words::of_status(self.status, &self.body),
            (code, "") => code.to_owned(),
            (code, message) => format!("{message} ({code})"),
        }
    }
}

/// A bucket's name is the whole world's, so one that is there may be anybody's.
fn rights(method: &Method, name: Option<&str>) -> &'static str {
    match (method.as_str(), name) {
        ("PUT", None) => "the key lacks the right s3:CreateBucket",
        (_, None) => "the bucket may be somebody else's, or the key lacks the right s3:ListBucket",
        ("PUT", _) => "the bucket may be somebody else's, or the key lacks the right s3:PutObject",
        ("DELETE", _) => "the bucket may be somebody else's, or the key lacks the right s3:DeleteObject",
        // AWS tells that something is missing only to those who may list.
        _ => {
            "the bucket may be somebody else's, or the key lacks the right s3:GetObject, or s3:ListBucket if the file is \
             missing"
        }
    }
}
