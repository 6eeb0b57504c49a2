//! What may be asked by who may steer the agent: how it is, its settings, its runs, and that it runs or pauses.

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use chrono::{TimeDelta, Utc};
use serde::Deserialize;

use super::access::{Door, guard};
use super::problem::Problem;
use super::{Context, exec, openapi, page, runs, snapshots, token};
use crate::agent::history::Pause;
use crate::agent::view::status::Status;
use crate::duration;

/// Some words about a command.
const MAX_BODY_BYTES: usize = 16 << 10;

pub(super) fn router(context: &Context, door: Door) -> Router<Context> {
    Router::new()
        .route("/", get(page::show))
        .route("/page.css", get(page::style))
        .route("/page.js", get(page::script))
        .route("/v1/openapi.json", get(openapi::show))
        .route("/v1/status", get(status))
        .route("/v1/config", get(config))
        .route("/v1/backups", post(runs::back_up))
        .route("/v1/checks", post(runs::check))
        .route("/v1/runs", get(runs::list))
        .route("/v1/runs/{number}", get(runs::show).delete(runs::cancel))
        .route("/v1/runs/{number}/events", get(runs::follow))
        .route("/v1/pause", post(pause))
        .route("/v1/resume", post(resume))
        .route("/v1/snapshots", get(snapshots::list))
        .route("/v1/snapshots/{id}", get(snapshots::show))
        .route("/v1/snapshots/{id}/files", get(snapshots::files))
        .route("/v1/snapshots/{id}/content", get(snapshots::content))
        .route("/v1/snapshots/{id}/archive", get(snapshots::archive))
        .route("/v1/exec", get(exec::list))
        .route("/v1/exec/{id}", post(exec::answer))
        .route("/v1/session", post(session))
        .fallback(async || Problem::no_such_path())
        .method_not_allowed_fallback(async || Problem::wrong_method())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state((context.clone(), door), guard))
}

async fn status(State(context): State<Context>) -> Json<Status> {
    Json(Status::of(&context.handle.state(), &context.listening.borrow()))
}

/// What may be a credential, in hooks, is hidden.
async fn config(State(context): State<Context>) -> Result<Response, Problem> {
    let config = context.handle.state().config.clone();
    let config = config.ok_or(crate::agent::command::Refused::NoSettings)?;
    Ok(([(header::CONTENT_TYPE, "application/yaml")], config.to_shown_yaml()).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PauseQuery {
    r#for: Option<String>,
}

async fn pause(
    State(context): State<Context>,
    query: Result<Query<PauseQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Pause>, Problem> {
    let Query(PauseQuery { r#for }) = query.map_err(|e| Problem::bad_parameter(e.body_text()))?;
    let until = r#for.map(|text| {
        let length = duration::parse(&text).map_err(|why| Problem::bad_parameter(format!("for: {why}")))?;
        let until = TimeDelta::from_std(length).ok().and_then(|length| Utc::now().checked_add_signed(length));
        until.ok_or_else(|| Problem::bad_parameter("for: that is longer than time lasts"))
    });
    Ok(Json(context.handle.pause(until.transpose()?).await?))
}

async fn resume(State(context): State<Context>) -> Result<Json<Status>, Problem> {
    context.handle.resume().await?;
    Ok(status(State(context)).await)
}

/// Trades a token for a cookie, so that a page can ask without knowing it.
async fn session(
    State(context): State<Context>,
    headers: axum::http::HeaderMap,
) -> Result<Response, Problem> {
    token::check(&context, &headers)?;
    let cookie = context.sessions.cookie(Utc::now().timestamp());
    Ok((axum::http::StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}
