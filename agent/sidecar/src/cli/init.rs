//! `pillion init`: a new repository, perhaps with the chunker of another, so that `restic copy` between the two finds
//! the same blobs in both.

use std::path::PathBuf;
use std::sync::Arc;

use pillion_repository::format::config::Version;
use pillion_repository::repository::Form;
use serde::Serialize;

use super::failure::Failure;
use super::global;
use super::output::{Output, Style, Verbosity};
use super::password::Prompt;
use super::session::Session;
use crate::environment::Environment;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Repository format version to use: a format version, 'latest' or 'stable'
    #[arg(long, value_name = "VERSION", default_value = "stable", value_parser = parse_version)]
    pub repository_version: RepositoryVersion,
    /// Copy chunker parameters from the secondary repository (useful with restic's copy command)
    #[arg(long)]
    pub copy_chunker_params: bool,
    /// Source repository to copy chunker parameters from (default: $RESTIC_FROM_REPOSITORY)
    #[arg(long, value_name = "REPOSITORY", requires = "copy_chunker_params")]
    pub from_repo: Option<String>,
    /// File from which to read the source repository location (default: $RESTIC_FROM_REPOSITORY_FILE)
    #[arg(long, value_name = "FILE", requires = "copy_chunker_params")]
    pub from_repository_file: Option<PathBuf>,
    /// File to read the source repository password from (default: $RESTIC_FROM_PASSWORD_FILE)
    #[arg(long, value_name = "FILE", requires = "copy_chunker_params")]
    pub from_password_file: Option<PathBuf>,
    /// Shell command to obtain the source repository password from (default: $RESTIC_FROM_PASSWORD_COMMAND)
    #[arg(long, value_name = "COMMAND", requires = "copy_chunker_params")]
    pub from_password_command: Option<String>,
    /// Use an empty password for the source repository (insecure)
    #[arg(long, requires = "copy_chunker_params")]
    pub from_insecure_no_password: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct RepositoryVersion(Version);

impl Default for RepositoryVersion {
    fn default() -> Self {
        Self(Version::Two)
    }
}

fn parse_version(text: &str) -> Result<RepositoryVersion, String> {
    match text {
        "1" => Ok(RepositoryVersion(Version::One)),
        "2" | "latest" | "stable" => Ok(RepositoryVersion(Version::Two)),
        _ => Err(format!("{text:?} is no version of the format: there are 1 and 2, latest and stable")),
    }
}

/// What the new repository is to be like. Asks the other one, where it is to be like that.
pub fn form(
    options: &Options,
    global: &global::Options,
    environment: &Environment,
    output: &Arc<Output>,
) -> Result<Form, Failure> {
    let RepositoryVersion(version) = options.repository_version;
    if !options.copy_chunker_params {
        return Ok(Form { version, chunker_polynomial: None });
    }
    let other = global::Options {
        repo: options.from_repo.clone(),
        repository_file: options.from_repository_file.clone(),
        password_file: options.from_password_file.clone(),
        password_command: options.from_password_command.clone(),
        insecure_no_password: options.from_insecure_no_password,
        ..global.clone()
    };
    let environment = from_variables(environment);
    other.location(&environment).map_err(|failure| Failure {
        message: format!("the repository to copy from: {}", failure.message),
        hint: Some("give one with --from-repo, or set RESTIC_FROM_REPOSITORY".into()),
        ..failure
    })?;
    let session = Session::start(&other, &environment, Arc::clone(output), Prompt::Once)?;
    let polynomial = session.open()?.config.chunker_polynomial;
    Ok(Form { version, chunker_polynomial: Some(polynomial) })
}

/// The variables of the other repository under the names of the first one's.
fn from_variables(environment: &Environment) -> Environment {
    ["REPOSITORY", "PASSWORD"].iter().fold(environment.clone(), |environment, name| {
        environment.with_other_prefix(&format!("RESTIC_{name}"), &format!("RESTIC_FROM_{name}"))
    })
}

pub fn run(form: Form, session: &Session<'_>) -> Result<(), Failure> {
    let repository = session.init(form)?;
    let copied = form.chunker_polynomial.map(|_| " with chunker parameters copied from secondary repository");
    print(&session.output, &repository.config.id.to_string(), session.written_location(), copied);
    Ok(())
}

/// Says that the repository is there.
pub fn print(output: &Output, id: &str, location: &str, note: Option<&str>) {
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
    let created = format!("created restic repository {short} at {location}");
    let lines = [
        Some(&*created),
        note,
        Some(""),
        Some("Keep the password safe: without it nobody can read the repository,"),
        Some("and what is in it is lost for good."),
    ];
    for line in lines.into_iter().flatten() {
        output.tell(Verbosity::Essential, line);
    }
}
