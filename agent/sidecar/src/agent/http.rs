//! The agent as others see it over HTTP: a public listener with metrics and liveness, and a control listener, on a Unix
//! socket, the loopback address or another one.
//!
//! Runs on a thread of its own, so that a backup at full speed keeps nobody waiting who asks how it goes. A listener that
//! cannot be opened is a state, told and tried again, never an end: a port may be the application's. Nothing that comes
//! in is trusted: connections, headers and the time they take are bounded, and so is the one body that is read.

mod access;
mod connection;
mod control;
mod exec;
mod openapi;
mod page;
mod patience;
mod problem;
mod public;
mod runs;
mod snapshots;
mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::command;
use super::config::DEFAULT_CACHE_DIRECTORY;
use super::config::http::Http;
use super::engine::reading::Readings;
use super::hook::exec::ExecRequests;
use access::Door;
use connection::Listener;
use token::Sessions;

/// Between two tries to open a listener.
const RETRY: Duration = Duration::from_secs(5);

/// What is listened on, or would be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Public(SocketAddr),
    Control(SocketAddr),
    Socket(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public(address) => write!(f, "public {address}"),
            Self::Control(address) => write!(f, "control {address}"),
            Self::Socket(path) => write!(f, "control {}", path.display()),
        }
    }
}

/// A listener as the status shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Listening {
    pub place: String,
    /// The address that was got, where any port would do.
    pub address: Option<String>,
    /// Why nobody can come in there.
    pub problem: Option<String>,
}

/// What the handlers have.
#[derive(Clone, Debug)]
struct Context {
    handle: command::Handle,
    listening: watch::Receiver<Vec<Listening>>,
    sessions: Arc<Sessions>,
    exec: Arc<ExecRequests>,
    readings: Arc<Readings>,
    /// Where the store is waited for: not on the listeners' thread.
    runtime: Handle,
    /// Ends what is being read.
    stop: CancellationToken,
}

impl Context {
    fn http(&self) -> Http {
        let config = self.handle.state().config.clone();
        config.map_or_else(|| Http::usual(Path::new(DEFAULT_CACHE_DIRECTORY)), |config| config.http.clone())
    }
}

/// The listeners of an agent, until `stop`.
#[derive(Debug)]
pub struct Server {
    thread: std::thread::JoinHandle<()>,
    listening: watch::Receiver<Vec<Listening>>,
}

impl Server {
    /// Opens what the settings name, now and whenever they change. Called on the runtime where jobs wait for the store.
    pub fn start(
        handle: command::Handle,
        exec: Arc<ExecRequests>,
        readings: Arc<Readings>,
        stop: CancellationToken,
    ) -> std::io::Result<Self> {
        let (told, listening) = watch::channel(Vec::new());
        let sessions = Arc::new(Sessions::new().map_err(std::io::Error::other)?);
        let (jobs, its) = (Handle::current(), stop.clone());
        let context = Context {
            handle,
            listening: listening.clone(),
            sessions,
            exec,
            readings,
            runtime: jobs,
            stop: its,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = move || runtime.block_on(Doors { context, told, open: BTreeMap::new() }.serve(stop));
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(serve)?;
        Ok(Self { thread, listening })
    }

    /// What is listened on, now and whenever that changes.
    pub fn listening(&self) -> watch::Receiver<Vec<Listening>> {
        self.listening.clone()
    }

    /// Waits for the end that `stop` brings.
    pub fn join(self) {
        // One that panicked has said so.
        let _ = self.thread.join();
    }
}

struct Doors {
    context: Context,
    told: watch::Sender<Vec<Listening>>,
    open: BTreeMap<Place, Open>,
}

/// What became of a place.
#[derive(Debug)]
enum Open {
    Serving { address: Option<String>, stop: CancellationToken },
    Problem(String),
}

impl Doors {
    async fn serve(mut self, stop: CancellationToken) {
        let mut states = self.context.handle.states();
        loop {
            self.open_and_close();
            tokio::select! {
                () = stop.cancelled() => break,
                _ = states.changed() => {}
                () = tokio::time::sleep(RETRY), if self.has_problem() => {}
            }
        }
        self.open.iter().for_each(|(place, open)| open.close(place));
    }

    fn has_problem(&self) -> bool {
        self.open.values().any(|open| matches!(open, Open::Problem(_)))
    }

    fn open_and_close(&mut self) {
        // Before the settings were looked at nobody knows where.
        let state = self.context.handle.state();
        if state.config.is_none() && state.settings.problems.is_empty() {
            return;
        }
        let http = self.context.http();
        let wanted: Vec<Place> = [
            http.public.map(Place::Public),
            http.control.map(Place::Control),
            http.socket.map(Place::Socket),
        ]
        .into_iter()
        .flatten()
        .collect();
        self.open.retain(|place, open| {
            let stays = wanted.contains(place);
            if !stays {
                open.close(place);
            }
            stays
        });
        for place in wanted {
            match self.open.get(&place) {
                Some(Open::Serving { .. }) => {}
                before => {
                    let opened = self.open(&place);
                    let told_before = matches!(before, Some(Open::Problem(_)));
                    match &opened {
                        Open::Serving { .. } => tracing::info!(%place, "listening"),
                        Open::Problem(problem) if !told_before => {
                            tracing::warn!(%place, problem, "cannot listen; trying again");
                        }
                        Open::Problem(_) => {}
                    }
                    self.open.insert(place, opened);
                }
            }
        }
        self.tell();
    }

    fn tell(&self) {
        let listening: Vec<Listening> = self
            .open
            .iter()
            .map(|(place, open)| {
                let (address, problem) = match open {
                    Open::Serving { address, .. } => (address.clone(), None),
                    Open::Problem(problem) => (None, Some(problem.clone())),
                };
                Listening { place: place.to_string(), address, problem }
            })
            .collect();
        self.told.send_if_modified(|told| {
            let is_new = *told != listening;
            *told = listening;
            is_new
        });
    }

    fn open(&self, place: &Place) -> Open {
        let stop = CancellationToken::new();
        let opened = match place {
            Place::Public(address) => bind(*address).map(|listener| {
                let address = listener.local_addr().ok().map(|address| address.to_string());
                self.accept(Listener::Tcp(listener), public::router(), stop.clone());
                address
            }),
            Place::Control(address) => bind(*address).map(|listener| {
                let bound = listener.local_addr().ok();
                let door = match address.ip().is_loopback() {
                    true => Door::Loopback,
                    false => Door::Network,
                };
                self.accept(Listener::Tcp(listener), control::router(&self.context, door), stop.clone());
                bound.map(|address| address.to_string())
            }),
            Place::Socket(path) => listen_on_socket(path).map(|listener| {
                let router = control::router(&self.context, Door::Socket);
                self.accept(Listener::Unix(listener), router, stop.clone());
                Some(path.display().to_string())
            }),
        };
        match opened {
            Ok(address) => Open::Serving { address, stop },
            Err(error) => Open::Problem(error.to_string()),
        }
    }

    fn accept(&self, listener: Listener, router: Router<Context>, stop: CancellationToken) {
        // Ends with its token, which whoever opened it cancels.
        tokio::spawn(connection::accept(listener, router.with_state(self.context.clone()), stop));
    }
}

impl Open {
    fn close(&self, place: &Place) {
        if let Self::Serving { stop, .. } = self {
            stop.cancel();
            if let Place::Socket(path) = place {
                // What is left of one is taken away by the next agent too.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// Without `SO_REUSEPORT`, and never in the place of somebody who listens there.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// A socket that only our own user can open. One that a process before us left is taken away; one that is answered is
/// somebody's.
fn listen_on_socket(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "another agent answers there"));
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, "something else is there"));
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
