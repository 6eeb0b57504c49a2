//! Who signs: keys as they were given, or keys that the platform hands out for a while.
//!
//! `object_store` exchanges them and renews them before they expire. Static keys are never renewed here: whoever read
//! them reads them again.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use object_store::StaticCredentialProvider;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};

use crate::ErrorKind;
use crate::credentials::S3Credentials;
use crate::remote::{Answer, Failed};
use crate::transfer::{Connector, RETRY, Transfer, Unexchanged};

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
        self.connector.exchange(provider.get_credential()).await.map_err(|failed| self.failed(failed))
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

    fn failed(&self, failed: Unexchanged) -> Failed {
        let (kind, what) = match &self.source {
            // Nobody at that address: this is no machine of AWS, and no role was meant.
            S3Credentials::InstanceProfile { .. } if failed.status.is_none() => (
                ErrorKind::Misconfigured,
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are missing, and no instance hands out keys",
            ),
            _ if failed.is_refused() => (ErrorKind::PermissionDenied, "the platform hands out no keys"),
            _ => (ErrorKind::Unavailable, "the platform did not hand out keys"),
        };
        // A URL of this exchange may hold a token.
        let why = if failed.why.contains("://") { "the request failed" } else { failed.why.as_str() };
        Failed::because(kind, format!("{what}: {why}"))
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
