//! The real servers of the stores, and Prometheus, for tests: started on free ports of 127.0.0.1, plain or with a certificate of a
//! private CA, asked until they answer, and ended with the [`Server`], or with the test's process however that ends.
//!
//! Relies on what `make tools` installs, and says so where it is missing. Everything here blocks and panics with the
//! reason: whoever calls is a test. Two servers never share a port or a folder, so that any number of test processes
//! run side by side.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

mod azurite;
mod b2;
mod ceph;
mod certificate;
mod http;
mod minio;
mod process;
mod prometheus;
mod restic;
mod seaweed;
mod vendor;
mod versity;

use certificate::Certificate;
use http::Client;
use process::{Ports, Process};
use vendor::Proxy;

pub use prometheus::{Prometheus, promtool};
pub use restic::{FOREIGN, RESTIC_PASSWORD, RepositoryAccess};

/// How long a server may take until it answers; on a machine with other work Ceph takes half a minute.
const START_MAX: Duration = Duration::from_secs(180);
/// How often a server is started anew that ended by itself: another process may take a port after we saw it free.
const START_TRIES_MAX: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Ceph,
    SeaweedFs,
    Versity,
    Azurite,
    B2,
    /// Only where [`minio_is_there`].
    Minio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Security {
    Plain,
    /// TLS by a certificate of a CA that only [`Server::ca`] knows.
    Tls,
}

/// What a client names itself with: access key and secret, account and key, or B2's key and its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub id: String,
    pub secret: String,
}

/// What a second user may do in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Reads and lists the first user's buckets, and writes nothing. Ceph, SeaweedFS, B2.
    Read,
    /// Is known, and may nothing with the first user's buckets, nor make one. Ceph, SeaweedFS, Versity, B2.
    Nothing,
    /// May make buckets, and store so much in all of them. Ceph; another user with every call.
    Quota { bytes: u64 },
}

/// A running server; dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    security: Security,
    port: u16,
    tls_port: Option<u16>,
    endpoint: String,
    credentials: Credentials,
    client: Client,
    certificate: Certificate,
    proxy: OnceLock<Proxy>,
    process: Process,
}

/// Where a server is to run: what a kind's module makes a [`Launch`] of.
#[derive(Debug)]
struct Place<'a> {
    folder: &'a Path,
    security: Security,
    certificate: &'a Certificate,
    ports: Ports,
}

/// How a server of a kind is started, and how it shows that it is ready.
#[derive(Debug)]
struct Launch {
    command: Command,
    port: u16,
    /// Where there is TLS even if `port` is plain.
    tls_port: Option<u16>,
    /// What belongs to the endpoint besides host and port.
    path: &'static str,
    /// What is asked until each has answered with its status.
    questions: Vec<(String, u16)>,
}

impl Server {
    /// Starts a server of its own and waits until it answers.
    pub fn start(kind: Kind, security: Security) -> Self {
        let mut tries = 1;
        loop {
            match Self::try_start(kind, security) {
                Ok(server) => return server,
                Err(Failure::Ended(_)) if tries < START_TRIES_MAX => tries += 1,
                Err(Failure::Ended(why) | Failure::Late(why)) => panic!("{kind:?} over {security:?}: {why}"),
            }
        }
    }

    fn try_start(kind: Kind, security: Security) -> Result<Self, Failure> {
        let folder = process::folder();
        let certificate = Certificate::write(folder.path());
        let client = Client::new(&certificate.ca);
        let mut place =
            Place { folder: folder.path(), security, certificate: &certificate, ports: Ports::default() };
        let launch = match kind {
            Kind::Ceph => ceph::launch(&mut place),
            Kind::SeaweedFs => seaweed::launch(&mut place),
            Kind::Versity => versity::launch(&mut place),
            Kind::Azurite => azurite::launch(&mut place),
            Kind::B2 => b2::launch(&mut place),
            Kind::Minio => minio::launch(&mut place),
        };
        // The ports are free for the server from here on.
        drop(place);
        let process = Process::start(folder, &launch.command);
        let server = Self {
            kind,
            security,
            port: launch.port,
            tls_port: launch.tls_port,
            endpoint: format!("{}://127.0.0.1:{}{}", security.scheme(), launch.port, launch.path),
            credentials: if kind == Kind::Azurite { azurite::owner() } else { Credentials::owner() },
            client,
            certificate,
            proxy: OnceLock::new(),
            process,
        };
        server.wait_until_ready(&launch.questions)?;
        if kind == Kind::Ceph {
            ceph::owner(server.folder());
        }
        Ok(server)
    }

    fn wait_until_ready(&self, questions: &[(String, u16)]) -> Result<(), Failure> {
        let deadline = Instant::now() + START_MAX;
        for (url, expected) in questions {
            loop {
                let answer = self.client.ask("GET", url, String::new());
                if matches!(&answer, Ok((status, _)) if status == expected) {
                    break;
                }
                if self.process.has_ended() {
                    return Err(Failure::Ended(format!("ended by itself:\n{}", self.process.log_end())));
                }
                if Instant::now() > deadline {
                    let log = self.process.log_end();
                    return Err(Failure::Late(format!("{url} answers {answer:?}, not {expected}:\n{log}")));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if self.process.has_ended() {
            return Err(Failure::Ended("another server answers on its port".to_owned()));
        }
        Ok(())
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn security(&self) -> Security {
        self.security
    }

    /// The URL of the server, without a bucket; Azurite's names the account.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The user to whom the store belongs.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Where S3 servers say they are.
    pub fn region(&self) -> &'static str {
        "us-east-1"
    }

    /// The CA whose certificate the server shows, as PEM.
    pub fn ca(&self) -> &Path {
        &self.certificate.ca
    }

    /// Another user, or a panic where servers of this kind have none of the sort.
    pub fn user(&self, rights: Rights) -> Credentials {
        match (self.kind, rights) {
            (Kind::Ceph, rights) => ceph::user(self, rights),
            (Kind::B2, rights) => b2::user(self, rights),
            (Kind::SeaweedFs, rights) => seaweed::user(rights),
            (Kind::Versity, Rights::Nothing) => versity::stranger(self),
            (kind, rights) => panic!("{kind:?} has no user who may {rights:?}"),
        }
    }

    /// The processor time that all of the server's processes took so far.
    pub fn processor_seconds(&self) -> f64 {
        self.process.processor_seconds()
    }

    /// The end of what the server wrote, to show beside a failure.
    pub fn log_end(&self) -> String {
        self.process.log_end()
    }

    /// The folder of the server, to put things into that go with it.
    pub fn folder(&self) -> &Path {
        self.process.folder()
    }
}

/// The server of that kind which all the tests of this process share, started by the first.
pub fn shared(kind: Kind, security: Security) -> &'static Server {
    type Entry = ((Kind, Security), &'static OnceLock<Server>);
    static ALL: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
    let cell = {
        let mut all = ALL.lock().expect("nothing panics with it held");
        match all.iter().find(|(key, _)| *key == (kind, security)) {
            Some((_, cell)) => *cell,
            None => {
                let cell: &'static OnceLock<Server> = Box::leak(Box::default());
                all.push(((kind, security), cell));
                cell
            }
        }
    };
    cell.get_or_init(|| Server::start(kind, security))
}

/// Whether `PILLION_TEST_MINIO` names a binary of MinIO: only then its tests have something to run against.
pub fn minio_is_there() -> bool {
    minio::binary().is_some()
}

/// A program that `make tools` puts below its folder.
fn tool(path: &str) -> PathBuf {
    let tools = std::env::var_os("PILLION_TEST_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools"), PathBuf::from);
    let program = tools.join(path);
    assert!(program.exists(), "{} is missing: run make tools", program.display());
    program
}

/// Panics where a program is missing that `make tools` installs for the whole system.
fn installed(program: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(found, "{program} is missing: run make tools");
}

/// What lies in `e2e/stores`.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("stores").join(name)
}

#[derive(Debug)]
enum Failure {
    Ended(String),
    Late(String),
}

impl Security {
    fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "https",
        }
    }
}

impl Credentials {
    fn new(id: &str, secret: &str) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned() }
    }

    fn owner() -> Self {
        Self::new("OWNERKEYID", "owner-secret-of-the-tests")
    }

    fn reader() -> Self {
        Self::new("READERKEYID", "reader-secret-of-the-tests")
    }

    fn stranger() -> Self {
        Self::new("STRANGERKEYID", "stranger-secret-of-the-tests")
    }
}
