//! `pillion init`: a new repository.

use serde::Serialize;

use super::failure::Failure;
use super::output::{Output, Style, Verbosity};
use super::session::Session;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {}

pub fn run(session: &Session<'_>) -> Result<(), Failure> {
    let repository = session.init()?;
    print(&session.output, &repository.config.id.to_string(), &session.shown_location());
    Ok(())
}

/// Says that the repository is there.
pub fn print(output: &Output, id: &str, location: &str) {
    #[derive(Serialize)]
    struct Initialized<'a> {
        message_type: &'static str,
        id: &'a str,
        repository: &'a str,
    }
    if output.style == Style::Json {
        return output.json(&Initialized { message_type: "initialized", id, repository: location });
    }
    let short = id.get(..10).unwrap_or(id);
    for line in [
        format!("created restic repository {short} at {location}"),
        String::new(),
        "Keep the password safe: without it nobody can read the repository,".to_owned(),
        "and what is in it is lost for good.".to_owned(),
    ] {
        output.tell(Verbosity::Essential, &line);
    }
}
