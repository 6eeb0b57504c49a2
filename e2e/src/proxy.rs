//! A proxy between a client and a store's server that does what networks and stores do on a bad day.
//!
//! Speaks plain HTTP/1.1, one exchange a connection, and keeps what it was asked, so that a test can count. A script
//! decides for each request what becomes of it; without one all pass. Everything here blocks and runs on threads of
//! its own; a connection ends with its client.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

/// A head that is longer is none.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Longer than any client in a test waits.
const STALL: Duration = Duration::from_secs(600);

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The store is not asked; this is the answer.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// The connection is reset before the store is asked.
    Reset,
    /// The store does what it is asked, and its answer is lost.
    LoseAnswer,
    /// The body of the answer ends after so many bytes.
    Truncate(usize),
    /// One bit of the answer's body is another.
    FlipBit(usize),
    /// Nothing is answered.
    Stall,
    /// Nothing comes after so many bytes of the answer's body.
    StallBody(usize),
}

impl Fault {
    pub fn answer(status: u16, body: &str) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.to_owned() }
    }

    /// An error as S3 words it.
    pub fn s3(status: u16, code: &str) -> Self {
        Self::answer(
            status,
            &format!(
                "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as scripted</Message></Error>"
            ),
        )
    }

    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The lines of the head, each `name: value`, the names in lower case.
    pub headers: Vec<(String, String)>,
    pub at: Instant,
    /// Counted from 0 since the proxy was started.
    pub number: usize,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

type Script = Arc<dyn Fn(&Asked) -> Option<Fault> + Send + Sync>;

struct Shared {
    upstream: SocketAddr,
    script: Mutex<Option<Script>>,
    asked: Mutex<Vec<Asked>>,
    count: AtomicUsize,
}

/// A running proxy. Its threads end with the process: a test's proxies are few.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({} -> {})", self.address, self.shared.upstream)
    }
}

impl Proxy {
    /// Before a server given by its URL, `http://127.0.0.1:PORT...`.
    pub fn start(url: &str) -> Self {
        let authority = url.strip_prefix("http://").expect("the proxy reads plain HTTP");
        let authority = authority.split('/').next().expect("a split has a first part");
        let upstream = authority.parse().expect("an address and a port");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            upstream,
            script: Mutex::default(),
            asked: Mutex::default(),
            count: AtomicUsize::new(0),
        });
        let threads = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&threads);
                // A client that goes away ends its exchange, which is what it wants.
                std::thread::spawn(move || shared.exchange(client));
            }
        });
        Self { address, shared }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// As [`Self::endpoint`], with the path that the server's own URL has.
    pub fn endpoint_of(&self, url: &str) -> String {
        self.endpoint() + path_of(url)
    }

    /// From the next request on.
    pub fn set(&self, script: impl Fn(&Asked) -> Option<Fault> + Send + Sync + 'static) {
        *lock(&self.shared.script) = Some(Arc::new(script));
    }

    pub fn heal(&self) {
        *lock(&self.shared.script) = None;
    }

    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// What was asked since the last time.
    pub fn forget(&self) -> Vec<Asked> {
        std::mem::take(&mut lock(&self.shared.asked))
    }
}

/// What a URL has after its host: nothing, or a slash and more.
pub fn path_of(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or("", |at| &url[host + at..])
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn exchange(&self, mut client: TcpStream) -> io::Result<()> {
        let (head, rest) = read_head(&mut client)?;
        let mut asked = parse(&head).ok_or(io::ErrorKind::InvalidData)?;
        let body_bytes: u64 =
            asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
        let fault = {
            asked.number = self.count.fetch_add(1, Ordering::Relaxed);
            lock(&self.asked).push(asked.clone());
            let script = lock(&self.script).clone();
            script.and_then(|script| script(&asked))
        };
        let rest_bytes = rest.len() as u64;
        let mut body =
            io::Cursor::new(rest).chain(client.try_clone()?.take(body_bytes.saturating_sub(rest_bytes)));
        match fault {
            Some(Fault::Reset) => return reset(&client),
            Some(Fault::Stall) => {
                std::thread::sleep(STALL);
                return reset(&client);
            }
            Some(Fault::Answer { status, headers, body: text }) => {
                // Read, so that the answer is not lost in a reset.
                io::copy(&mut body, &mut io::sink())?;
                return answer(&mut client, &asked, status, &headers, &text);
            }
            _ => {}
        }
        let mut store = TcpStream::connect(self.upstream)?;
        store.write_all(&closing(&head))?;
        if io::copy(&mut body, &mut store).is_err() {
            // A store that refuses need not read on: it has answered, which the client sees when it has sent all.
            io::copy(&mut body, &mut io::sink())?;
        }
        let (mut answer_head, answer_rest) = read_head(&mut store)?;
        // Not every server repeats it, and a client that is not told may ask again where nobody listens.
        if !String::from_utf8_lossy(&answer_head).to_ascii_lowercase().contains("\r\nconnection: close") {
            answer_head = closing(&answer_head);
        }
        let mut answer_body = io::Cursor::new(answer_rest).chain(store);
        match fault {
            Some(Fault::LoseAnswer) => {
                io::copy(&mut answer_body, &mut io::sink())?;
                return reset(&client);
            }
            Some(Fault::Truncate(bytes)) => {
                client.write_all(&answer_head)?;
                io::copy(&mut answer_body.take(bytes as u64), &mut client)?;
            }
            Some(Fault::StallBody(bytes)) => {
                client.write_all(&answer_head)?;
                io::copy(&mut answer_body.take(bytes as u64), &mut client)?;
                std::thread::sleep(STALL);
            }
            Some(Fault::FlipBit(at)) => {
                let mut bytes = Vec::new();
                answer_body.read_to_end(&mut bytes)?;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1;
                }
                client.write_all(&answer_head)?;
                client.write_all(&bytes)?;
            }
            _ => {
                client.write_all(&answer_head)?;
                io::copy(&mut answer_body, &mut client)?;
            }
        }
        client.shutdown(Shutdown::Both)
    }
}

/// The head up to its empty line, and what came after it.
fn read_head(stream: &mut TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((bytes, rest));
        }
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if bytes.len() > MAX_HEAD_BYTES => return Err(io::ErrorKind::InvalidData.into()),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

fn parse(head: &[u8]) -> Option<Asked> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some(Asked { method, target, headers: headers.collect(), at: Instant::now(), number: 0 })
}

/// The same head, after whose answer the connection is closed: so its end is the end of the body.
fn closing(head: &[u8]) -> Vec<u8> {
    let mut closing = head[..head.len() - 2].to_vec();
    closing.extend_from_slice(b"Connection: close\r\n\r\n");
    closing
}

fn answer(
    client: &mut TcpStream,
    asked: &Asked,
    status: u16,
    headers: &[(&'static str, String)],
    body: &str,
) -> io::Result<()> {
    let mut head =
        format!("HTTP/1.1 {status} Scripted\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    client.write_all(head.as_bytes())?;
    if asked.method != "HEAD" {
        client.write_all(body.as_bytes())?;
    }
    client.shutdown(Shutdown::Both)
}

/// What a peer sees that was cut off; a plain close would let it wait.
fn reset(client: &TcpStream) -> io::Result<()> {
    set_socket_linger(client, Some(Duration::ZERO))?;
    client.shutdown(Shutdown::Read)
}
