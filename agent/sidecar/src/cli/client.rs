//! The way to the agent that runs beside us: HTTP over its Unix socket, for the commands that look at it or steer it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use super::failure::Failure;
use super::global;
use super::session::runtime;
use crate::agent::config::http::{HEADER, Http};
use crate::agent::config::{DEFAULT_CACHE_DIRECTORY, Loaded, Source};
use crate::environment::Environment;

/// Far more than all records together.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// The agent answers at once, whatever it is doing.
const PATIENCE: Duration = Duration::from_secs(30);

/// What every command has that asks a running agent.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(id = "client")]
pub struct Options {
    /// The agent's socket (default: the setting controlSocket, or control.sock in its cache directory)
    #[arg(long, value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// The agent's settings file, to find its socket (default: $PILLION_CONFIG)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// A running agent.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    runtime: Runtime,
}

/// What an agent says that does not do what it was asked.
#[derive(Debug, Deserialize)]
struct Problem {
    detail: String,
}

impl Client {
    pub fn new(
        options: &Options,
        global: &global::Options,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let socket = match &options.socket {
            Some(socket) => socket.clone(),
            None => socket_of(&mut Source::new(global.as_settings(), environment, options.config.clone()))?,
        };
        Ok(Self { socket, runtime: runtime()? })
    }

    pub fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.parse(&self.ask(&Method::GET, path)?)
    }

    /// Asks for a change. An agent that answers without a word has done it.
    pub fn change(&self, method: &Method, path: &str) -> Result<Bytes, Failure> {
        self.ask(method, path)
    }

    pub fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(body).map_err(|e| self.failed(&format!("its answer is not understood: {e}")))
    }

    fn ask(&self, method: &Method, path: &str) -> Result<Bytes, Failure> {
        let asked = async {
            match tokio::time::timeout(PATIENCE, self.exchange(method, path)).await {
                Ok(answer) => answer,
                Err(_) => Err(self.failed(&format!("no answer in {} s", PATIENCE.as_secs()))),
            }
        };
        let (status, body) = self.runtime.block_on(asked)?;
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(Failure::new(problem.detail)),
            Err(_) => Err(self.failed(&format!("it answers {status}"))),
        }
    }

    async fn exchange(&self, method: &Method, path: &str) -> Result<(StatusCode, Bytes), Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| {
            self.failed(&e)
                .hint("is the agent running, and is this its container and its user? --socket names another")
        })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.failed(&e))?;
        // Ends with the sender.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header(HEADER, "cli")
            .body(Empty::<Bytes>::new())
            .map_err(|e| self.failed(&e))?;
        let response = sender.send_request(request).await.map_err(|e| self.failed(&e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        Ok((status, body.map_err(|e| self.failed(&e))?.to_bytes()))
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> Failure {
        Failure::new(format!("ask the agent at {}: {why}", self.socket.display()))
    }
}

/// Where the agent with these settings listens. Bad settings say nothing: it goes on with others.
fn socket_of(source: &mut Source) -> Result<PathBuf, Failure> {
    let http = match source.load() {
        Loaded::Good(config) => config.http,
        Loaded::Bad(_) | Loaded::Unchanged => Http::usual(Path::new(DEFAULT_CACHE_DIRECTORY)),
    };
    http.socket.ok_or_else(|| Failure::new("the setting controlSocket is off: the agent has no socket"))
}
