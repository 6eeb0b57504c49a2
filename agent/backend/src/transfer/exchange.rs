//! How a platform's word is exchanged for credentials of a store.
//!
//! The exchange itself is `object_store`'s, over our own HTTP client, so that a private authority is trusted here too.
//! What it tells of a failure is little: the last answer's status is remembered beside it, and the outer errors are
//! dropped, since they hold the URL of the exchange, in whose query a token may be. Must never wait for ever.

use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
};
use object_store::{BackoffConfig, RetryConfig};
use reqwest::header::CONTENT_TYPE;
use tokio::task_local;
use tokio::time::timeout;

use super::Transfer;
use crate::ErrorKind;
use crate::blocking::blocking;
use crate::error::chain;
use crate::remote::Failed;

/// The caller tries again, for longer and with a word about it.
pub(crate) const RETRY: RetryConfig = RetryConfig {
    backoff: BackoffConfig {
        init_backoff: Duration::from_millis(200),
        max_backoff: Duration::from_secs(1),
        base: 2.0,
    },
    max_retries: 1,
    retry_timeout: Duration::from_secs(20),
};

/// Of a whole exchange, both tries: its answers are small.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Our client, for the exchange of credentials.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    client: HttpClient,
}

task_local! {
    /// Of the last answer in this exchange: several calls may wait for one each, and one connector is for all.
    static STATUS: Cell<Option<u16>>;
}

/// An exchange that came to nothing.
#[derive(Debug)]
pub(crate) struct Unexchanged {
    /// Of the platform's answer, if there was one.
    pub status: Option<u16>,
    /// The innermost reason, which may quote the answer's body.
    pub why: String,
}

impl Connector {
    pub(crate) fn new(transfer: &Transfer) -> Self {
        Self { client: HttpClient::new(transfer.client().clone()) }
    }

    /// Waits for credentials that are asked for over this connector.
    pub(crate) async fn exchange<T>(
        &self,
        asked: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Unexchanged> {
        let waited = async {
            let why = match timeout(EXCHANGE_TIMEOUT, asked).await {
                Ok(Ok(credentials)) => return Ok(credentials),
                Ok(Err(error)) => chain(&error).last().map(ToString::to_string).unwrap_or_default(),
                Err(_) => format!("no answer in {} s", EXCHANGE_TIMEOUT.as_secs()),
            };
            Err(Unexchanged { status: STATUS.with(Cell::get), why })
        };
        STATUS.scope(Cell::new(None), waited).await
    }
}

/// The library takes paths as text.
pub(crate) fn path_text(path: &Path) -> Result<String, String> {
    path.to_str().map(str::to_owned).ok_or_else(|| format!("{} is not UTF-8", path.display()))
}

impl Unexchanged {
    /// Where the platform was not asked since its word for us, in the file that the variable `name` says, cannot be
    /// read.
    pub(crate) fn of_token_file(&self, name: &str, path: &Path) -> Option<Failed> {
        if self.status.is_some() {
            return None;
        }
        let error = blocking(|| File::open(path)).err()?;
        Some(Failed::because(ErrorKind::Misconfigured, format!("{name} cannot be read: {error}")))
    }

    /// Whether the platform has understood, and does not want to.
    pub(crate) fn is_refused(&self) -> bool {
        self.status.is_some_and(|status| (400..500).contains(&status) && !matches!(status, 408 | 429))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Connector {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        strip_line_ends(&mut request);
        let response = self.client.execute(request).await?;
        let status = response.status().as_u16();
        // Outside of an exchange nobody asks.
        let _ = STATUS.try_with(|last| last.set(Some(status)));
        Ok(response)
    }
}

/// A token's file may end in a line's end, which is no part of the token: the library sends it along in the query or
/// the form that the token is part of.
fn strip_line_ends(request: &mut HttpRequest) {
    const FORM: &str = "application/x-www-form-urlencoded";
    if let Some((before, query)) = request.uri().to_string().split_once('?')
        && let Ok(uri) = format!("{before}?{}", without_line_ends(query)).parse()
    {
        *request.uri_mut() = uri;
    }
    let is_form = request.headers().get(CONTENT_TYPE).is_some_and(|value| value == FORM);
    let form = request.body().as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok());
    if let Some(form) = form.filter(|_| is_form) {
        let form = without_line_ends(form);
        *request.body_mut() = form.into();
    }
}

/// Of the values of form-encoded pairs.
fn without_line_ends(pairs: &str) -> String {
    let strip = |pair: &str| {
        let mut rest = pair;
        while let Some(shorter) = rest.strip_suffix("%0A").or_else(|| rest.strip_suffix("%0D")) {
            rest = shorter;
        }
        rest.to_owned()
    };
    pairs.split('&').map(strip).collect::<Vec<_>>().join("&")
}
