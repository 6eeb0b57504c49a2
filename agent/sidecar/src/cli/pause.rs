//! `pillion pause` and `pillion resume`: whether the running agent begins runs by itself.

use hyper::Method;

use super::client::{self, Client};
use super::failure::Failure;
use super::output::{Output, Style};
use super::{global, runs};
use crate::agent::history::Pause;
use crate::agent::view::status::Status;
use crate::duration;
use crate::environment::Environment;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub client: client::Options,
    /// For how long, like 90m or 2h (default: until `pillion resume`)
    #[arg(long = "for", value_name = "DURATION", value_parser = check)]
    pub length: Option<String>,
}

fn check(text: &str) -> Result<String, String> {
    duration::parse(text).map(|_| text.to_owned())
}

pub fn run(
    options: &Options,
    global: &global::Options,
    environment: &Environment,
    output: &Output,
) -> Result<(), Failure> {
    let client = Client::new(&options.client, global, environment)?;
    let path = match &options.length {
        // A duration holds nothing that a query would not.
        Some(length) => format!("/v1/pause?for={}", length.trim()),
        None => "/v1/pause".to_owned(),
    };
    let pause: Pause = client.parse(&client.change(&Method::POST, &path)?)?;
    match (output.style, pause.until) {
        (Style::Json, _) => output.json(&pause),
        (Style::Text, Some(until)) => {
            output.line(&format!("paused until {}", runs::time(until, &output.zone)));
        }
        (Style::Text, None) => output.line("paused until `pillion resume`"),
    }
    Ok(())
}

pub fn resume(
    options: &client::Options,
    global: &global::Options,
    environment: &Environment,
    output: &Output,
) -> Result<(), Failure> {
    let client = Client::new(options, global, environment)?;
    let status: Status = client.parse(&client.change(&Method::POST, "/v1/resume")?)?;
    match (output.style, status.next_run_at) {
        (Style::Json, _) => output.json(&status),
        (Style::Text, Some(at)) => output.line(&format!("next run at {}", runs::time(at, &output.zone))),
        (Style::Text, None) => output.line("resumed"),
    }
    Ok(())
}
