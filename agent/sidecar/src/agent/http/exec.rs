//! Commands that hooks want run in other containers: listed for whoever may run them, and answered by them.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::Context;
use super::problem::Problem;
use crate::agent::hook::exec::{ExecAnswer, ExecRequest, NotPending};
use crate::duration;

/// Who waits longer asks again.
const MAX_WAIT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    wait: Option<String>,
}

/// What waits to be run, the oldest first; with `wait` not before there is something, or that time is over.
pub(super) async fn list(
    State(context): State<Context>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Vec<ExecRequest>>, Problem> {
    let Query(ListQuery { wait }) = query.map_err(|e| Problem::bad_parameter(e.body_text()))?;
    let wait = wait.as_deref().map_or(Ok(Duration::ZERO), duration::parse);
    let wait = wait.map_err(|why| Problem::bad_parameter(format!("wait: {why}")))?.min(MAX_WAIT);
    let mut changes = context.exec.changes();
    let found = async {
        loop {
            let pending = context.exec.pending();
            if !pending.is_empty() || changes.changed().await.is_err() {
                return pending;
            }
        }
    };
    Ok(Json(tokio::time::timeout(wait, found).await.unwrap_or_default()))
}

/// How it went.
pub(super) async fn answer(
    State(context): State<Context>,
    id: Result<Path<String>, PathRejection>,
    answer: Result<Json<ExecAnswer>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let Json(answer) = answer.map_err(|e| Problem::new(e.status(), "bad-body", e.body_text()))?;
    // An ID that cannot be read is nobody's.
    let Path(id) = id.unwrap_or(Path(String::new()));
    match context.exec.answer(&id, answer) {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(NotPending) => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-request",
            "nobody waits for this answer: it was given, or came too late",
        )),
    }
}
