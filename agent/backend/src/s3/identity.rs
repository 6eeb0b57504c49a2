//! Who signs: keys as they were given, or keys that the platform hands out for a while.
//!
//! `object_store` exchanges them and renews them before they expire. Static keys are never renewed here: whoever read
//! them reads them again. Must never show what a platform was told or has handed out.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use object_store::StaticCredentialProvider;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use reqwest::StatusCode;
use serde::Deserialize;

use crate::ErrorKind;
use crate::credentials::S3Credentials;
use crate::remote::{Answer, Failed};
use crate::transfer::{Connector, RETRY, Transfer, Unexchanged, path_text};

use super::address::Address;

/// What is shown of words that have no form.
const MAX_WORDS: usize = 300;

#[derive(Debug)]
pub(super) struct Identity {
    source: S3Credentials,
    region: String,
    connector: Connector,
    provider: RwLock<Provider>,
    /// Whether there was a platform.
    has_handed_out: AtomicBool,
}

#[derive(Debug)]
struct Provider {
    keys: AwsCredentialProvider,
    /// Counts how often what was handed out was forgotten.
    generation: u64,
}

/// The keys of one request.
#[derive(Debug)]
pub(super) struct Signer {
    pub credential: Arc<AwsCredential>,
    generation: u64,
}

impl Identity {
    /// The error is a sentence about the settings.
    pub(super) fn new(
        source: &S3Credentials,
        address: &Address,
        transfer: &Transfer,
    ) -> Result<Self, String> {
        let connector = Connector::new(transfer);
        let source = complete(source, address);
        let provider = Provider { keys: provider(&source, address.region(), &connector)?, generation: 0 };
        Ok(Self {
            source,
            region: address.region().to_owned(),
            connector,
            provider: RwLock::new(provider),
            has_handed_out: AtomicBool::new(false),
        })
    }

    pub(super) async fn signer(&self) -> Answer<Signer> {
        let (keys, generation) = {
            let provider = self.provider.read().unwrap_or_else(PoisonError::into_inner);
            (Arc::clone(&provider.keys), provider.generation)
        };
        let asked = self.connector.exchange(keys.get_credential()).await;
        let credential = asked.map_err(|failed| self.failed(&failed))?;
        if unsendable(&credential).is_some() {
            return Err(Failed::because(ErrorKind::Unavailable, "the platform's keys are none"));
        }
        self.has_handed_out.store(true, Ordering::Relaxed);
        Ok(Signer { credential, generation })
    }

    /// Forgets what was handed out, unless another call has, whose keys were refused at the same time. `false` where
    /// nothing else would come of it.
    pub(super) fn renew(&self, refused: &Signer) -> bool {
        if matches!(self.source, S3Credentials::Static { .. }) {
            return false;
        }
        let mut current = self.provider.write().unwrap_or_else(PoisonError::into_inner);
        if current.generation != refused.generation {
            return true;
        }
        match provider(&self.source, &self.region, &self.connector) {
            Ok(keys) => {
                *current = Provider { keys, generation: refused.generation + 1 };
                true
            }
            Err(_) => false,
        }
    }

    /// What there is to look at where the store says that of the keys.
    pub(super) fn hint(&self, code: &str) -> Option<&'static str> {
        let is_static = matches!(self.source, S3Credentials::Static { .. });
        match code {
            "SignatureDoesNotMatch" | "InvalidAccessKeyId" | "InvalidToken" | "ExpiredToken"
                if !is_static =>
            {
                Some("the keys are those that the platform hands out")
            }
            "SignatureDoesNotMatch" => Some("look at AWS_SECRET_ACCESS_KEY"),
            "InvalidAccessKeyId" | "NotSignedUp" => Some("look at AWS_ACCESS_KEY_ID"),
            "InvalidToken" | "ExpiredToken" => Some("look at AWS_SESSION_TOKEN"),
            _ => None,
        }
    }

    fn failed(&self, failed: &Unexchanged) -> Failed {
        if let Some((name, path)) = self.token_file()
            && let Some(of_file) = failed.of_token_file(name, path)
        {
            return of_file;
        }
        let is_instance = matches!(self.source, S3Credentials::InstanceProfile { .. });
        let has_platform = failed.status.is_some() || self.has_handed_out.load(Ordering::Relaxed);
        let (kind, what) = match (is_instance, failed.is_refused()) {
            // Nobody at that address: this is no machine of AWS, and no role was meant.
            (true, _) if !has_platform => (
                ErrorKind::Misconfigured,
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are missing, and no instance hands out keys",
            ),
            // Other clouds have something at that address too.
            (true, true) => (
                ErrorKind::PermissionDenied,
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are missing, and the instance hands out no keys",
            ),
            (false, true) => (ErrorKind::PermissionDenied, "the platform hands out no keys"),
            (_, false) => (ErrorKind::Unavailable, "the platform did not hand out keys"),
        };
        Failed::because(kind, format!("{what}: {}", explained(failed)))
    }

    /// Where the platform puts its word for us, and the variable that says so.
    fn token_file(&self) -> Option<(&'static str, &Path)> {
        match &self.source {
            S3Credentials::WebIdentity { token_file, .. } => {
                Some(("AWS_WEB_IDENTITY_TOKEN_FILE", token_file))
            }
            S3Credentials::PodIdentity { token_file, .. } => {
                Some(("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_file))
            }
            S3Credentials::Static { .. } | S3Credentials::InstanceProfile { .. } => None,
        }
    }
}

/// A role of another partition is known to that one's token service only.
fn complete(source: &S3Credentials, address: &Address) -> S3Credentials {
    let mut source = source.clone();
    if let S3Credentials::WebIdentity { endpoint, .. } = &mut source
        && endpoint.is_none()
    {
        *endpoint = address.token_service();
    }
    source
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
            let keys = AwsCredential {
                key_id: key_id.clone(),
                secret_key: text(secret_key)?,
                token: session_token.as_ref().map(text).transpose()?,
            };
            return match unsendable(&keys) {
                Some(name) => Err(format!("{name} has a character that no such value has")),
                None => Ok(Arc::new(StaticCredentialProvider::new(keys))),
            };
        }
        S3Credentials::WebIdentity { role_arn, token_file, session_name, endpoint } => {
            let builder = set(builder, AmazonS3ConfigKey::RoleArn, role_arn);
            let builder = set(builder, AmazonS3ConfigKey::WebIdentityTokenFile, &path_text(token_file)?);
            let builder = set_if(builder, AmazonS3ConfigKey::RoleSessionName, session_name);
            set_if(builder, AmazonS3ConfigKey::StsEndpoint, endpoint)
        }
        S3Credentials::PodIdentity { url, token_file } => {
            let builder = set(builder, AmazonS3ConfigKey::ContainerCredentialsFullUri, url);
            set(builder, AmazonS3ConfigKey::ContainerAuthorizationTokenFile, &path_text(token_file)?)
        }
        S3Credentials::InstanceProfile { endpoint } => {
            set_if(builder, AmazonS3ConfigKey::MetadataEndpoint, endpoint)
        }
    };
    let built = builder.build().map_err(|e| format!("set up credentials: {e}"))?;
    Ok(Arc::clone(built.credentials()))
}

/// What of the keys cannot become part of a header, by its variable.
fn unsendable(keys: &AwsCredential) -> Option<&'static str> {
    let is_sendable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    match (is_sendable(&keys.key_id), keys.token.as_deref().is_none_or(is_sendable)) {
        (false, _) => Some("AWS_ACCESS_KEY_ID"),
        (true, false) => Some("AWS_SESSION_TOKEN"),
        (true, true) => None,
    }
}

/// What the platform says, in one line.
fn explained(failed: &Unexchanged) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Refusal {
        error: Explanation,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Explanation {
        code: String,
        message: String,
    }
    let Some(status) = failed.status.and_then(|status| StatusCode::from_u16(status).ok()) else {
        // The URL of this exchange may hold a token.
        return if failed.why.contains("://") { "the request failed".to_owned() } else { failed.why.clone() };
    };
    if status.is_success() {
        // It may be half of an answer, keys and all.
        return "its answer cannot be read".to_owned();
    }
    let body = failed.why.split_once(&format!("{status}: ")).map_or("", |(_, body)| body);
    if let Ok(Refusal { error }) = quick_xml::de::from_str(body) {
        return format!("{} ({})", error.message.trim_end_matches('.'), error.code);
    }
    match body.lines().next() {
        Some(line) if !line.starts_with('<') => {
            format!("it answers {status}: {}", line.chars().take(MAX_WORDS).collect::<String>())
        }
        _ => format!("it answers {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Location;
    use crate::open::{Options, S3Options};
    use crate::secret::Secret;

    fn address(location: &str) -> Address {
        match Location::parse(location).unwrap() {
            Location::S3(s3) => Address::new(&s3, &S3Options::default()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_that_no_header_can_hold_is_refused_without_being_repeated() {
        let keys = |key_id: &str, token: &str| S3Credentials::Static {
            key_id: key_id.to_owned(),
            secret_key: Secret::new("hünter2"),
            session_token: Some(Secret::new(token)),
        };
        let transfer = Transfer::new(&Options::default()).unwrap();
        let new = |keys: &S3Credentials| Identity::new(keys, &address("s3:h/b"), &transfer);
        assert!(new(&keys("id", "token")).is_ok());
        for (keys, name) in
            [(keys("hünter2", "token"), "AWS_ACCESS_KEY_ID"), (keys("id", "hünter2"), "AWS_SESSION_TOKEN")]
        {
            let said = new(&keys).unwrap_err();
            assert!(said.starts_with(name) && !said.contains("nter2"), "{said}");
        }
    }

    #[test]
    fn a_role_asks_its_own_partition_unless_it_is_told_whom() {
        let role = |endpoint: Option<&str>| S3Credentials::WebIdentity {
            role_arn: "arn".to_owned(),
            token_file: "/t".into(),
            session_name: None,
            endpoint: endpoint.map(str::to_owned),
        };
        let china = address("s3:s3.cn-north-1.amazonaws.com.cn/b");
        let asked = "https://sts.cn-north-1.amazonaws.com.cn";
        assert_eq!(complete(&role(None), &china), role(Some(asked)));
        assert_eq!(
            complete(&role(Some("https://sts.example.com")), &china),
            role(Some("https://sts.example.com"))
        );
        assert_eq!(complete(&role(None), &address("s3:s3.eu-west-1.amazonaws.com/b")), role(None));
    }
}
