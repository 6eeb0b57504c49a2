//! What every pod may ask: whether the agent lives, and how it is in numbers. Changes nothing and names no file.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Context;
use super::problem::Problem;
use crate::agent::view::metrics;

/// A loop that has not turned for so long hangs.
const MAX_TURN: std::time::Duration = std::time::Duration::from_secs(120);

pub(super) fn router() -> Router<Context> {
    Router::new()
        .route("/livez", get(livez))
        .route("/metrics", get(metrics))
        .fallback(async || Problem::no_such_path())
        .method_not_allowed_fallback(async || Problem::wrong_method())
}

async fn livez(State(context): State<Context>) -> Response {
    match context.handle.state().published_at.elapsed() <= MAX_TURN {
        true => "ok\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the agent does not turn any more\n").into_response(),
    }
}

async fn metrics(State(context): State<Context>) -> Response {
    let text = metrics::text(&context.handle.state());
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response()
}
