//! The status page and what it is made of.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};

use super::access::Door;
use super::{Context, token};
use crate::agent::view::page;
use crate::agent::view::status::Status;

const HEADERS: [(header::HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, page::POLICY),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// The page, or where a token is needed and none was shown, the question for it.
pub(super) async fn show(
    State(context): State<Context>,
    Extension(door): Extension<Door>,
    headers: HeaderMap,
) -> Response {
    let is_known = door != Door::Network || token::check(&context, &headers).is_ok();
    let text = if is_known {
        let state = context.handle.state();
        let status = Status::of(&state, &context.listening.borrow());
        page::page(&status, &state.runs)
    } else {
        page::login()
    };
    (HEADERS, Html(text)).into_response()
}

pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css")], page::STYLE).into_response()
}

pub(super) async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript")], page::SCRIPT).into_response()
}
