//! Carrying out one hook: a request, a connection, a program, or a wish that somebody else fulfils.
//!
//! Relies on the settings for where a hook may reach. Each ends by its timeout at the latest and by the cancellation it was
//! given, with nothing of it left running. What is told of a hook never holds what it sends or what it is answered, save
//! the last words of a program. [`around`] knows when hooks run, [`marker`] that one is still to run.

pub mod around;
mod command;
pub mod exec;
mod http;
pub mod marker;
mod tcp;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::config::hooks::{Handler, Hook};
use super::config::plan::{Plan, PlanName};
use crate::duration;
use exec::ExecRequests;

/// Which of the two, as the settings call them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    PreBackup,
    PostBackup,
}

impl Moment {
    pub fn name(self) -> &'static str {
        match self {
            Self::PreBackup => "preBackup",
            Self::PostBackup => "postBackup",
        }
    }
}

/// Whose hook it is.
#[derive(Clone, Debug)]
pub struct Whose {
    pub host: String,
    pub identity: Option<String>,
    pub plan: Option<PlanName>,
}

impl Whose {
    pub fn of(config: &Config, plan: &Plan) -> Self {
        Self { host: config.host.clone(), identity: config.identity.clone(), plan: plan.name.clone() }
    }
}

/// What a hook may know of its run.
#[derive(Clone, Debug)]
pub struct Facts {
    pub moment: Moment,
    pub whose: Whose,
    /// The number of the run; `None` for one of an earlier process.
    pub run: Option<u64>,
    /// Only after the reading.
    pub outcome: Option<String>,
}

/// Why a hook was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfulfilled {
    /// A sentence.
    Failed(String),
    Cancelled,
}

/// Who carries hooks out. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runner {
    pub exec: Arc<ExecRequests>,
}

impl Runner {
    /// Carries a hook out. It is over when this returns, and when the future is dropped.
    pub async fn carry_out(
        &self,
        hook: &Hook,
        facts: &Facts,
        cancel: &CancellationToken,
    ) -> Result<(), Unfulfilled> {
        let (moment, handler) = (facts.moment.name(), &hook.handler);
        tracing::debug!(hook = moment, %handler, "hook begins");
        let work = async {
            match handler {
                Handler::Http(request) => http::send(request).await,
                Handler::Tcp(place) => tcp::connect(place).await,
                Handler::Exec { container, command } => self.exec.ask(container, command, hook.timeout).await,
                Handler::Command(words) => command::run(words, facts).await,
            }
        };
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Unfulfilled::Cancelled),
            ended = tokio::time::timeout(hook.timeout, work) => ended,
        };
        let late = || Err(format!("it took longer than {}", duration::format(hook.timeout)));
        match ended.unwrap_or_else(|_| late()) {
            Ok(()) => {
                tracing::info!(hook = moment, %handler, "hook ended");
                Ok(())
            }
            Err(why) => Err(Unfulfilled::Failed(format!("the {moment} hook failed ({handler}): {why}"))),
        }
    }
}
