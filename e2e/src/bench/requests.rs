//! How often a store is asked, and for what: each request is money at a vendor, and a wait on a long way.
//!
//! Both programs, and the resident agent, do their steps through [`Proxy`], which keeps what it was asked. It speaks
//! plain HTTP: where stock restic insists on the vendor's own host names and their TLS, only we are counted. The
//! repositories' making is not counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::Options;
use super::compare::perform;
use super::mixture::Mixture;
use super::program::{Program, Side};
use super::store::{BUCKET, program};
use super::work::Step;
use crate::proxy::{Asked, Proxy, path_of};
use crate::servers::{Kind, Security, Server};

const STEPS: [(Step, &str); 3] =
    [(Step::First, "first backup"), (Step::Unchanged, "unchanged backup"), (Step::Restore, "restore")];

/// Where the agent's repository is, in the bucket.
const AGENT: &str = "agent";

/// A whole run of the agent that finds nothing changed is to ask no more than this.
const AGENT_REQUESTS_MAX: usize = 8;

/// How often each is asked: a method and what it is about, like `PUT data`.
type Counts = BTreeMap<String, usize>;

/// Counts the steps of both programs and of the agent, and succeeds with a table, as Markdown, and whether the agent
/// keeps to its bound.
pub fn count(
    options: &Options,
    mixture: &Mixture,
    kind: Kind,
    tell: &dyn Fn(&str),
) -> Result<(String, bool)> {
    let sides = match kind {
        Kind::Azurite | Kind::B2 => &[Side::Pillion][..],
        _ => &Side::BOTH,
    };
    let server = Server::start(kind, Security::Plain);
    let proxy = Proxy::start(server.endpoint());
    let mut columns = Vec::new();
    for &side in sides {
        let program = through(&proxy, &server, program(options, side, &server)?, side.noun());
        program.begin(None)?;
        proxy.forget();
        for (step, name) in STEPS {
            tell(&format!("counting requests: {name} by {}", side.noun()));
            perform(&program, step, &mixture.path)
                .with_context(|| format!("count the requests of a {name}"))?;
            columns.push((format!("{name}: {}", side.noun()), counts(&proxy.forget(), &server)));
        }
        program.remove()?;
    }
    tell("counting requests: the agent");
    let agent = program(options, Side::Pillion, &server)?;
    let agent = through(&proxy, &server, agent, AGENT);
    let asked = counts(&unchanged_run_of_agent(&agent, &proxy, mixture)?, &server);
    // Else it is no single run that was counted.
    let snapshots: usize =
        ["PUT snapshots", "POST snapshots"].iter().filter_map(|sort| asked.get(*sort)).sum();
    ensure!(snapshots == 1, "this is no single run of the agent: {asked:?}");
    let total: usize = asked.values().sum();
    columns.push(("unchanged run: agent".to_owned(), asked));
    let reached = total <= AGENT_REQUESTS_MAX;
    let verdict = if reached { "reached" } else { "MISSED" };
    let text = format!(
        "{}\n- unchanged run of the agent: {total} requests, of {AGENT_REQUESTS_MAX}: {verdict}\n",
        render(&columns)
    );
    Ok((text, reached))
}

/// The same program, asking the proxy in the server's place.
fn through(proxy: &Proxy, server: &Server, program: Program, prefix: &str) -> Program {
    let mut access = server.access(server.credentials(), BUCKET, prefix);
    let endpoint = proxy.endpoint_of(server.endpoint());
    match server.kind() {
        Kind::Azurite => access.variables.push(("AZURE_STORAGE_ENDPOINT", endpoint)),
        Kind::B2 => access.variables.push(("B2_API_URL", endpoint)),
        _ => access.location = access.location.replacen(server.endpoint(), &endpoint, 1),
    }
    // restic's way to a vendor, and not ours.
    access.variables.retain(|(name, _)| *name != "HTTPS_PROXY");
    program.with_store(access)
}

/// What the agent asks in its third run: the first one makes the repository and the snapshot, and the moment of the
/// second may have come while that was going on, so that only before the third nobody asks anything.
fn unchanged_run_of_agent(program: &Program, proxy: &Proxy, mixture: &Mixture) -> Result<Vec<Asked>> {
    program.remove()?;
    let mut agent = Agent::start(program, mixture)?;
    for _ in 0..2 {
        agent.wait_for_run()?;
    }
    proxy.forget();
    agent.wait_for_run()?;
    let asked = proxy.forget();
    drop(agent);
    program.remove()?;
    Ok(asked)
}

/// An agent at work. Dropping it kills it: what it made is thrown away.
struct Agent {
    child: Child,
    log: std::io::Lines<BufReader<ChildStderr>>,
}

impl Agent {
    fn start(program: &Program, mixture: &Mixture) -> Result<Self> {
        let place = program.place();
        let credentials = place.join("credentials");
        fs::create_dir_all(&credentials)?;
        let access = program.store().context("the agent is given a store")?;
        let secrets = access.variables.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in secrets.chain([("RESTIC_PASSWORD", "bench")]) {
            fs::write(credentials.join(name), value)?;
        }
        let settings = json!({
            "repository": access.location,
            "sources": [mixture.path],
            // Longer than an unchanged run.
            "schedule": "@every 10s",
            "cacheDir": place.join("agent-cache"),
            "credentialsDir": credentials,
            "logFormat": "json",
        });
        let file = place.join("agent.yaml");
        fs::write(&file, settings.to_string())?;
        let mut command = program.command();
        command.arg("agent").arg("--config").arg(file).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().context("start the agent")?;
        let log = child.stderr.take().context("its standard error is a pipe")?;
        Ok(Self { child, log: BufReader::new(log).lines() })
    }

    /// Reads the log up to the end of a run, which must have been a good one.
    fn wait_for_run(&mut self) -> Result<()> {
        for line in self.log.by_ref() {
            let line = line.context("read the agent's log")?;
            let told: Value =
                serde_json::from_str(&line).with_context(|| format!("the agent said {line}"))?;
            if told["message"] == "run ended" {
                ensure!(told["outcome"] == "Complete", "the agent's run failed: {line}");
                return Ok(());
            }
        }
        bail!("the agent ended by itself")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn counts(asked: &[Asked], server: &Server) -> Counts {
    // What stands before the bucket in a path.
    let base = match server.kind() {
        Kind::Azurite => path_of(server.endpoint()),
        Kind::B2 => "/file",
        _ => "",
    };
    let mut counts = Counts::new();
    for asked in asked {
        let about = match asked.header("x-bz-file-name") {
            Some(name) => kind(name).to_owned(),
            None => about(asked.target.strip_prefix(base).unwrap_or(&asked.target)),
        };
        *counts.entry(format!("{} {about}", asked.method)).or_default() += 1;
    }
    counts
}

/// The kind of file a request is about, `list` before it where it asks for the names of such files, or `bucket`; what
/// B2 is called for by the call's name, since what it is about is told in the body.
fn about(target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let listed = query.split('&').find_map(|part| part.strip_prefix("prefix="));
    match listed {
        Some(prefix) => format!("list {}", kind(&prefix.replace("%2F", "/"))),
        None => match path.trim_matches('/').split_once('/') {
            Some((_bucket, name)) => kind(name).to_owned(),
            None => "bucket".to_owned(),
        },
    }
}

/// Of a name below the prefix of a repository.
fn kind(name: &str) -> &str {
    name.trim_end_matches('/').split('/').nth(1).unwrap_or("all")
}

/// A row for each sort of request, a column for each step.
fn render(columns: &[(String, Counts)]) -> String {
    let mut text = "| requests".to_owned();
    for (name, _) in columns {
        write!(text, " | {name}").expect("writing to a string succeeds");
    }
    write!(text, " |\n| ---{} |\n", " | ---:".repeat(columns.len())).expect("writing to a string succeeds");
    let sorts: BTreeSet<_> = columns.iter().flat_map(|(_, counts)| counts.keys()).collect();
    for sort in sorts {
        write!(text, "| {sort}").expect("writing to a string succeeds");
        for (_, counts) in columns {
            write!(text, " | {}", counts.get(sort).unwrap_or(&0)).expect("writing to a string succeeds");
        }
        text.push_str(" |\n");
    }
    text.push_str("| all");
    for (_, counts) in columns {
        write!(text, " | {}", counts.values().sum::<usize>()).expect("writing to a string succeeds");
    }
    text.push_str(" |\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_by_the_kind_of_file_it_is_about() {
        for (target, expected) in [
            ("/pillion-bench/agent/config", "config"),
            ("/pillion-bench/agent/data/ab/abcdef", "data"),
            ("/pillion-bench/agent/locks/0123", "locks"),
            ("/pillion-bench", "bucket"),
            ("/b2api/v3/b2_delete_file_version", "b2_delete_file_version"),
            ("/pillion-bench/?location=", "bucket"),
            ("/pillion-bench?list-type=2&prefix=agent%2Flocks%2F", "list locks"),
            ("/pillion-bench/?delimiter=%2F&list-type=2&prefix=agent/snapshots/", "list snapshots"),
        ] {
            assert_eq!(about(target), expected, "{target}");
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_sort_of_request_and_one_for_their_sum() {
        let columns = [
            ("first".to_owned(), Counts::from([("PUT data".to_owned(), 2), ("GET config".to_owned(), 1)])),
            ("second".to_owned(), Counts::from([("GET config".to_owned(), 1)])),
        ];
        let expected = "\
            | requests | first | second |\n\
            | --- | ---: | ---: |\n\
            | GET config | 1 | 1 |\n\
            | PUT data | 2 | 0 |\n\
            | all | 3 | 1 |\n";
        assert_eq!(render(&columns), expected);
    }
}
