//! What a store says that it did not do what it was asked.
//!
//! The code in the body decides, and where there is none (an answer to HEAD, a proxy's page) the status does.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use crate::ErrorKind;
use crate::remote::{Failed, kind_of_status, retry_after};
use crate::transfer::Response;

#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    headers: HeaderMap,
    error: Explanation,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Explanation {
    code: String,
    message: String,
    region: Option<String>,
}

impl Refusal {
    pub(super) async fn read(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let error = quick_xml::de::from_str(&response.explanation().await).unwrap_or_default();
        Self { status, headers, error }
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

    pub(super) fn into_failed(self) -> Failed {
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
        Failed::Because { kind, why: why.into(), retry_after: retry_after(&self.headers) }
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
            // Two who write one name at one time.
            _ if self.status == StatusCode::CONFLICT => ErrorKind::Unavailable,
            _ => kind_of_status(self.status),
        }
    }

    fn sentence(&self) -> String {
        let Explanation { code, message, .. } = &self.error;
        match (code.as_str(), message.trim_end_matches('.')) {
            ("", _) => format!("the store answers {}", self.status),
            (code, "") => code.to_owned(),
            (code, message) => format!("{message} ({code})"),
        }
    }
}
