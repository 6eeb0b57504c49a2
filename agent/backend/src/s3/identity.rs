//! Who signs: keys as they were given, or keys that the platform hands out for a while.
//!
//! The exchange itself is `object_store`'s, over our own HTTP client, so that a private authority is trusted here too;
//! it renews keys before they expire. Static keys are never renewed here: whoever read them reads them again.

use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
};
use object_store::{BackoffConfig, RetryConfig, StaticCredentialProvider};

use crate::ErrorKind;
use crate::credentials::S3Credentials;
use crate::remote::{Answer, Failed};
use crate::transfer::Transfer;

/// The caller tries again, for longer and with a word about it.
const RETRY: RetryConfig = RetryConfig {
    backoff: BackoffConfig {
        init_backoff: Duration::from_millis(200),
        max_backoff: Duration::from_secs(1),
        base: 2.0,
    },
    max_retries: 1,
    retry_timeout: Duration::from_secs(20),
};

#[derive(Debug)]
pub(super) struct Identity {
    source: S3Credentials,
    region: String,
    connector: Connector,
    provider: RwLock<AwsCredentialProvider>,
}

impl Identity {
    /// The error is a sentence about the settings.
    pub(super) fn new(source: &S3Credentials, region: &str, transfer: &Transfer) -> Result<Self, String> {
        let connector = Connector::new(transfer);
        let provider = RwLock::new(provider(source, region, &connector)?);
        Ok(Self { source: source.clone(), region: region.to_owned(), connector, provider })
    }

    pub(super) async fn credential(&self) -> Answer<Arc<AwsCredential>> {
        let provider = self.provider.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.connector.status.store(0, Ordering::Relaxed);
        provider.get_credential().await.map_err(|error| self.failed(error))
    }

    /// Forgets what was handed out. `false` where nothing else would come of it.
    pub(super) fn renew(&self) -> bool {
        if matches!(self.source, S3Credentials::Static { .. }) {
            return false;
        }
        match provider(&self.source, &self.region, &self.connector) {
            Ok(renewed) => {
                *self.provider.write().unwrap_or_else(PoisonError::into_inner) = renewed;
                true
            }
            Err(_) => false,
        }
    }

    fn failed(&self, error: object_store::Error) -> Failed {
        let status = self.connector.status.load(Ordering::Relaxed);
        let (kind, what) = match &self.source {
            // Nobody at that address: this is no machine of AWS, and no role was meant.
            S3Credentials::InstanceProfile { .. } if status == 0 => (
                ErrorKind::Misconfigured,
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are missing, and no instance hands out keys",
            ),
            _ if (400..500).contains(&status) && status != 429 => {
                (ErrorKind::PermissionDenied, "the platform hands out no keys")
            }
            _ => (ErrorKind::Unavailable, "the platform did not hand out keys"),
        };
        Failed::because(kind, format!("{what}: {}", innermost(&error)))
    }
}

/// The outer errors hold the URL of the exchange, in whose query a token may be.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let text = last.to_string();
    match text.contains("://") {
        true => "the request failed".to_owned(),
        false => text,
    }
}

fn provider(
    source: &S3Credentials,
    region: &str,
    connector: &Connector,
) -> Result<AwsCredentialProvider, String> {
    let builder = AmazonS3Builder::new()
        // Of no account: only the credentials are taken from what is built.
        .with_bucket_name("bucket")
        .with_region(region)
        .with_retry(RETRY)
        .with_http_connector(connector.clone());
    let set = |builder: AmazonS3Builder, key, value: &str| builder.with_config(key, value);
    let set_if = |builder: AmazonS3Builder, key, value: &Option<String>| match value {
        Some(value) => builder.with_config(key, value),
        None => builder,
    };
    let builder = match source {
        S3Credentials::Static { key_id, secret_key, session_token } => {
            let text = |secret: &crate::secret::Secret| {
                secret.expose_text().map(str::to_owned).ok_or("a key is no text".to_owned())
            };
            return Ok(Arc::new(StaticCredentialProvider::new(AwsCredential {
                key_id: key_id.clone(),
                secret_key: text(secret_key)?,
                token: session_token.as_ref().map(text).transpose()?,
            })));
        }
        S3Credentials::WebIdentity { role_arn, token_file, session_name, endpoint } => {
            let builder = set(builder, AmazonS3ConfigKey::RoleArn, role_arn);
            let builder = set(builder, AmazonS3ConfigKey::WebIdentityTokenFile, &path(token_file)?);
            let builder = set_if(builder, AmazonS3ConfigKey::RoleSessionName, session_name);
            set_if(builder, AmazonS3ConfigKey::StsEndpoint, endpoint)
        }
        S3Credentials::PodIdentity { url, token_file } => {
            let builder = set(builder, AmazonS3ConfigKey::ContainerCredentialsFullUri, url);
            set(builder, AmazonS3ConfigKey::ContainerAuthorizationTokenFile, &path(token_file)?)
        }
        S3Credentials::InstanceProfile { endpoint } => {
            set_if(builder, AmazonS3ConfigKey::MetadataEndpoint, endpoint)
        }
    };
    let built = builder.build().map_err(|e| format!("set up credentials: {e}"))?;
    Ok(Arc::clone(built.credentials()))
}

fn path(path: &Path) -> Result<String, String> {
    path.to_str().map(str::to_owned).ok_or_else(|| format!("{} is not UTF-8", path.display()))
}

/// Our client, for the exchange of credentials; remembers what the last answer's status was, since the error does not
/// tell it.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    client: HttpClient,
    status: Arc<AtomicU16>,
}

impl Connector {
    pub(crate) fn new(transfer: &Transfer) -> Self {
        Self { client: HttpClient::new(transfer.client().clone()), status: Arc::default() }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.client.execute(request).await?;
        self.status.store(response.status().as_u16(), Ordering::Relaxed);
        Ok(response)
    }
}
