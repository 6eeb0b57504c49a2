//! Runs: asked for, listed, followed, cancelled. A run belongs to the agent: it goes on when who asked for it has gone.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::Deserialize;

use super::Context;
use super::problem::Problem;
use crate::agent::command::{Handle, Refused};
use crate::agent::config::plan::PlanName;
use crate::agent::record::Work;
use crate::agent::view::status::Run;

/// Between two looks at a run that goes on.
const PROGRESS: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BackupQuery {
    #[serde(default)]
    wait: bool,
    plan: Option<PlanName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckQuery {
    #[serde(default)]
    wait: bool,
}

/// Answers with the run that will hold all that was written before; with `wait` once it is over.
pub(super) async fn back_up(
    State(context): State<Context>,
    query: Result<Query<BackupQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(BackupQuery { wait, plan }) = query.map_err(|e| Problem::bad_parameter(e.body_text()))?;
    if plan.is_none()
        && let Some(config) = &context.handle.state().config
        && let [first, ..] = &config.plans[..]
        && first.name.is_some()
    {
        let names: Vec<_> = config.plans.iter().filter_map(|plan| plan.name.as_ref()).collect();
        let names: Vec<_> = names.into_iter().map(PlanName::as_str).collect();
        return Err(Problem::bad_parameter(format!("plan: is not given: there are {}", names.join(", "))));
    }
    request(&context, Work::backup(plan), wait).await
}

pub(super) async fn check(
    State(context): State<Context>,
    query: Result<Query<CheckQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(CheckQuery { wait }) = query.map_err(|e| Problem::bad_parameter(e.body_text()))?;
    request(&context, Work::CHECK, wait).await
}

async fn request(context: &Context, work: Work, wait: bool) -> Result<Response, Problem> {
    let number = context.handle.run(work).await?;
    let place = [(header::LOCATION, format!("/v1/runs/{number}"))];
    let run = match wait {
        true => ended(&context.handle, number).await?,
        false => find(&context.handle, number).ok_or(Refused::NoSuchRun)?,
    };
    let status = if wait { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, place, Json(run)).into_response())
}

/// The newest first.
pub(super) async fn list(State(context): State<Context>) -> Json<Vec<Run>> {
    let state = context.handle.state();
    Json(Run::all(&state).collect())
}

type Number = Result<Path<u64>, PathRejection>;

fn parse(number: Number) -> Result<u64, Problem> {
    number.map(|Path(number)| number).map_err(|_| Refused::NoSuchRun.into())
}

pub(super) async fn show(State(context): State<Context>, number: Number) -> Result<Json<Run>, Problem> {
    Ok(Json(find(&context.handle, parse(number)?).ok_or(Refused::NoSuchRun)?))
}

pub(super) async fn cancel(State(context): State<Context>, number: Number) -> Result<StatusCode, Problem> {
    context.handle.cancel(parse(number)?).await?;
    Ok(StatusCode::ACCEPTED)
}

/// The run again and again, up to its end, as server-sent events.
pub(super) async fn follow(
    State(context): State<Context>,
    number: Number,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let number = parse(number)?;
    find(&context.handle, number).ok_or(Refused::NoSuchRun)?;
    let mut states = context.handle.states();
    // The first look is at once.
    states.mark_changed();
    let events = stream::unfold(Some((context.handle, states)), move |place| async move {
        let (handle, mut states) = place?;
        tokio::select! {
            _ = states.changed() => {}
            () = tokio::time::sleep(PROGRESS) => {}
        }
        let run = find(&handle, number)?;
        let event = Event::default().event("run").json_data(&run).ok()?;
        let goes_on = !matches!(run, Run::Ended(_));
        Some((Ok(event), goes_on.then_some((handle, states))))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

fn find(handle: &Handle, number: u64) -> Option<Run> {
    Run::all(&handle.state()).find(|run| run.number() == number)
}

async fn ended(handle: &Handle, number: u64) -> Result<Run, Problem> {
    let mut states = handle.states();
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        if let Some(record) = state.run(number) {
            return Ok(Run::Ended(Arc::clone(record)));
        }
        states.changed().await.map_err(|_| Refused::Stopping)?;
    }
}
