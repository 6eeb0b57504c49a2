//! What is answered in place of what was asked: problem details (RFC 9457) with a code that never changes its meaning.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::agent::command::Refused;

/// The code is for programs, the detail for people.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), header: None }
    }

    /// The same, with what a program does about it.
    pub(super) fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-path", "nothing is at this path")
    }

    pub(super) fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", "this path knows other methods")
    }

    pub(super) fn bad_parameter(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-parameter", detail)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoSettings => Self::new(
                StatusCode::CONFLICT,
                "no-settings",
                "there were no good settings yet: GET /v1/status names what is wrong with them",
            ),
            Refused::NotHere(mode) => Self::new(
                StatusCode::CONFLICT,
                "not-here",
                format!("the settings say that this agent does not back up: mode is {mode}"),
            ),
            Refused::NoSuchWork => Self::new(
                StatusCode::NOT_FOUND,
                "no-such-plan",
                "the settings have no such plan, or no checks: GET /v1/status names what is planned",
            ),
            Refused::NoSuchRun => {
                Self::new(StatusCode::NOT_FOUND, "no-such-run", "there is no such run, or it is over")
            }
            Refused::Stopping => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the agent is about to end")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        let mut response = (self.status, Json(body)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.headers_mut().extend(self.header);
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
