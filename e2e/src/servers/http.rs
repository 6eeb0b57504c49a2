//! Questions to a server, for whoever blocks: whether it is ready, and what a kind lets a test order by HTTP.
//!
//! They run on a runtime of their own, so that a test may ask from within another.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

const ANSWER_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Client(reqwest::Client);

impl Client {
    /// Trusts that CA and no other.
    pub(super) fn new(ca: &Path) -> Self {
        let ca = fs::read(ca).expect("the CA was written");
        let ca = reqwest::Certificate::from_pem(&ca).expect("the CA is PEM");
        // A server that was dropped and another on its port are not to be met with the same connection.
        let builder = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).pool_max_idle_per_host(0);
        Self(builder.tls_certs_only([ca]).build().expect("make an HTTP client"))
    }

    /// Status and body, or why there is none.
    pub(super) fn ask(&self, method: &str, url: &str, body: String) -> Result<(u16, String), String> {
        let method = method.parse().expect("a method of HTTP");
        let request = self.0.request(method, url).body(body);
        let (sender, receiver) = mpsc::channel();
        runtime().spawn(async move {
            let answer = async {
                let response = request.send().await?;
                let status = response.status().as_u16();
                Ok((status, response.text().await?))
            };
            // The one who asked waits for it.
            let _ = sender.send(answer.await.map_err(|error: reqwest::Error| format!("{error:?}")));
        });
        receiver.recv().expect("the runtime lives as long as the process")
    }
}

pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("start a runtime")
    })
}
