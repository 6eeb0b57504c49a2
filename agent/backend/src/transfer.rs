//! HTTP as the object stores need it: one client, bodies that stream, and waits that end.
//!
//! What is bounded is the time without progress, never that of a whole transfer: a slow line is slow and not dead.
//! Nothing here is tried again and nothing is followed: a redirect is an answer, since it must be signed anew. An
//! error never shows a URL, for its query may hold a signature.

mod exchange;
mod pace;
mod stall;
pub mod tls;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, HeaderMap};
use reqwest::{Method, StatusCode, Url};

use crate::ErrorKind;
use crate::clock::StoreClock;
use crate::error::chain;
use crate::open::Options;
use crate::remote::{Failed, store_time};

pub(crate) use exchange::{Connector, RETRY, Unexchanged, path_text};
use pace::Pace;
use stall::{Progress, within};
pub(crate) use upload::{Digests, Upload};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Shorter than what servers and the balancers before them keep an idle connection: 60 s and more.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// After the last byte of a request: what the system still holds has to get through, and the store to be sure of it.
const ANSWER_TIMEOUT_FACTOR: u32 = 4;

/// An explanation longer than this is cut.
const MAX_EXPLANATION_BYTES: usize = 64 << 10;

/// The way to one store.
#[derive(Clone)]
pub(crate) struct Transfer {
    client: reqwest::Client,
    idle: Duration,
    upload: Option<Arc<Pace>>,
    download: Option<Arc<Pace>>,
    clock: Arc<StoreClock>,
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transfer")
    }
}

/// What is sent. Made anew for each try.
pub(crate) struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: RequestBody,
}

/// URL and headers may hold a signature or a token.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({})", self.method)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum RequestBody {
    Empty,
    Bytes(Bytes),
    Upload(Arc<Upload>),
}

impl RequestBody {
    fn size_bytes(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Upload(upload) => upload.size_bytes(),
        }
    }
}

impl Transfer {
    /// The error is a sentence about the settings.
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(&options.ca_certificates, options.insecure_tls)?)
            .user_agent(options.user_agent.clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT.min(options.idle_timeout))
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(options.max_connections)
            .http1_only()
            .build()
            .map_err(|e| format!("make an HTTP client: {}", sentence(&e)))?;
        Ok(Self {
            client,
            idle: options.idle_timeout,
            upload: options.upload_limit.map(|rate| Arc::new(Pace::new(rate))),
            download: options.download_limit.map(|rate| Arc::new(Pace::new(rate))),
            clock: Arc::clone(&options.clock),
        })
    }

    /// The client itself, for whoever exchanges credentials.
    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Sends a request and waits for the head of the answer, whatever its status.
    pub(crate) async fn send(&self, request: Request) -> Result<Response, Failed> {
        let progress = Arc::new(Progress::new(self.idle));
        let size_bytes = request.body.size_bytes();
        let mut sent = reqwest::Request::new(request.method.clone(), request.url);
        *sent.headers_mut() = request.headers;
        if size_bytes > 0 || request.method == Method::PUT || request.method == Method::POST {
            // The body's length is not to be found out from a stream.
            sent.headers_mut().insert(CONTENT_LENGTH, size_bytes.into());
        }
        *sent.body_mut() = self.body(request.body, &progress);
        let asked = SystemTime::now();
        let response = progress.watch(self.client.execute(sent)).await?.map_err(failed)?;
        // A refusal tells it too, and above all the one for a clock that is wrong.
        if let Some(told) = store_time(response.headers()) {
            self.clock.note(told, asked, SystemTime::now());
        }
        Ok(Response { response, idle: self.idle, pace: self.download.clone() })
    }

    /// Each piece that the connection takes is progress.
    fn body(&self, body: RequestBody, progress: &Arc<Progress>) -> Option<reqwest::Body> {
        let pieces = match body {
            RequestBody::Empty => return None,
            RequestBody::Bytes(bytes) => stream::iter([Ok(bytes)]).boxed(),
            RequestBody::Upload(upload) => upload.pieces(self.upload.as_deref()),
        };
        let (pace, progress) = (self.upload.clone(), Arc::clone(progress));
        let paced = pieces.then(move |piece| {
            let (pace, progress) = (pace.clone(), Arc::clone(&progress));
            async move {
                if let (Ok(bytes), Some(pace)) = (&piece, pace) {
                    progress.pause();
                    pace.take(bytes.len()).await;
                }
                progress.made();
                piece
            }
        });
        Some(reqwest::Body::wrap_stream(paced))
    }
}

/// The head of an answer, and the way to its body.
pub(crate) struct Response {
    response: reqwest::Response,
    idle: Duration,
    pace: Option<Arc<Pace>>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({})", self.response.status())
    }
}

impl Response {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// The length of the body as the head says it.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// The next piece of the body; `None` at its end. A body shorter than its head said is an error.
    async fn piece(&mut self) -> Result<Option<Bytes>, Failed> {
        let piece = within(self.idle, self.response.chunk()).await?.map_err(failed)?;
        if let (Some(piece), Some(pace)) = (&piece, &self.pace) {
            pace.take(piece.len()).await;
        }
        Ok(piece)
    }

    /// Whether the body comes in chunks, of which the last one says that it is the last.
    pub(crate) fn is_chunked(&self) -> bool {
        let last = self.header("transfer-encoding").and_then(|codings| codings.rsplit(',').next());
        last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
    }

    /// The whole body, of exactly the given size. Memory is taken as it arrives.
    pub(crate) async fn bytes(self, size_bytes: u64) -> Result<Bytes, Failed> {
        const MAX_TRUSTED_BYTES: u64 = 32 << 20;
        let bytes = Vec::with_capacity(size_bytes.min(MAX_TRUSTED_BYTES) as usize);
        let longer = || Failed::because(ErrorKind::Unavailable, "the body is longer than it was said to be");
        let bytes = self.read_up_to(size_bytes, bytes, longer).await?;
        match bytes.len() as u64 == size_bytes {
            true => Ok(bytes.into()),
            false => Err(Failed::because(
                ErrorKind::Unavailable,
                format!("the body ended after {} of {size_bytes} bytes", bytes.len()),
            )),
        }
    }

    /// The whole body, whose size nobody told.
    pub(crate) async fn untold_bytes(self, max_bytes: u64) -> Result<Bytes, Failed> {
        let larger = || Failed::because(ErrorKind::TooLarge, format!("it has more than {max_bytes} bytes"));
        Ok(self.read_up_to(max_bytes, Vec::new(), larger).await?.into())
    }

    async fn read_up_to(
        mut self,
        max_bytes: u64,
        mut bytes: Vec<u8>,
        exceeded: impl Fn() -> Failed + Send,
    ) -> Result<Vec<u8>, Failed> {
        while let Some(piece) = self.piece().await? {
            if bytes.len() as u64 + piece.len() as u64 > max_bytes {
                return Err(exceeded());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// A body that explains something or lists, bounded; what is longer is an error.
    pub(crate) async fn text(mut self, max_bytes: usize) -> Result<String, Failed> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece().await? {
            if bytes.len() + piece.len() > max_bytes {
                return Err(Failed::because(
                    ErrorKind::Unavailable,
                    "the answer is longer than any should be",
                ));
            }
            bytes.extend_from_slice(&piece);
        }
        // A list is large: it is copied only where it has to be mended.
        Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }

    /// The explanation of a refusal, as much of it as arrives.
    pub(crate) async fn explanation(mut self) -> String {
        let mut bytes = Vec::new();
        while let Ok(Some(piece)) = self.piece().await {
            bytes.extend_from_slice(&piece[..piece.len().min(MAX_EXPLANATION_BYTES - bytes.len())]);
            if bytes.len() == MAX_EXPLANATION_BYTES {
                break;
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// What a transport error means. A certificate that is not trusted will not be at the next try either, and a server
/// without TLS will have none.
fn failed(error: reqwest::Error) -> Failed {
    if let Some(why) = tls::refusal(&error) {
        return Failed::because(ErrorKind::Misconfigured, why);
    }
    if error.is_builder() {
        return Failed::because(ErrorKind::Misconfigured, sentence(&error));
    }
    if let Some(body) = upload::unusable(&error) {
        return Failed::because(ErrorKind::UnusableBody, body);
    }
    Failed::because(ErrorKind::Unavailable, sentence(&error))
}

/// The innermost reasons say more than the outer ones, which speak of requests and URLs.
fn sentence(error: &(dyn std::error::Error + 'static)) -> String {
    let reasons: Vec<String> = chain(error).skip(1).map(ToString::to_string).collect();
    match reasons.len() {
        0 => "the request failed".to_owned(),
        many => reasons[many.saturating_sub(2)..].join(": "),
    }
}
