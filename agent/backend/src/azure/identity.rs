//! Who signs: an account's key, a shared access signature, or a token that the platform hands out for a while.
//!
//! `object_store` exchanges tokens and renews them before they expire. A key or a signature is never renewed here:
//! whoever read it reads it again. Must never show any of them: a provider's own `Debug` does.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use object_store::StaticCredentialProvider;
use object_store::azure::{
    AzureAccessKey, AzureConfigKey, AzureCredential, AzureCredentialProvider, MicrosoftAzureBuilder,
    split_sas,
};
use serde::Deserialize;

use crate::ErrorKind;
use crate::credentials::AzureProof;
use crate::remote::{Answer, Failed};
use crate::secret::Secret;
use crate::transfer::{Connector, RETRY, Transfer, Unexchanged, path_text};

use super::refusal::Hint;

pub(super) struct Identity {
    source: AzureProof,
    connector: Connector,
    provider: RwLock<AzureCredentialProvider>,
    /// Until when a shared access signature says that it is valid.
    valid_until: Option<String>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// The error is a sentence about the settings.
    pub(super) fn new(source: &AzureProof, transfer: &Transfer) -> Result<Self, String> {
        let connector = Connector::new(transfer);
        let (provider, valid_until) = match source {
            AzureProof::SharedAccessSignature(signature) => {
                let pairs = read_signature(signature)?;
                let valid_until = pairs.iter().find(|(key, _)| key == "se").map(|(_, value)| value.clone());
                (fixed(AzureCredential::SASToken(pairs)), valid_until.filter(|time| is_time(time)))
            }
            _ => (provider(source, &connector)?, None),
        };
        Ok(Self { source: source.clone(), connector, provider: RwLock::new(provider), valid_until })
    }

    pub(super) async fn credential(&self) -> Answer<Arc<AzureCredential>> {
        let provider = self.provider.read().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = self.connector.exchange(provider.get_credential()).await;
        let credential = asked.map_err(|failed| self.failed(failed))?;
        match &*credential {
            // It becomes a header.
            AzureCredential::BearerToken(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(Failed::because(ErrorKind::Unavailable, "the platform's token is none"))
            }
            _ => Ok(credential),
        }
    }

    /// Forgets what was handed out. `false` where nothing else would come of it.
    pub(super) fn renew(&self) -> bool {
        if !matches!(self.source, AzureProof::WorkloadIdentity { .. }) {
            return false;
        }
        match provider(&self.source, &self.connector) {
            Ok(renewed) => {
                *self.provider.write().unwrap_or_else(PoisonError::into_inner) = renewed;
                true
            }
            Err(_) => false,
        }
    }

    /// Whether this is the account's owner, who may look at everything.
    pub(super) fn is_owner(&self) -> bool {
        matches!(self.source, AzureProof::AccountKey(_))
    }

    /// What there is to look at where a request is refused.
    pub(super) fn hint(&self) -> Hint {
        let credentials = match (&self.source, &self.valid_until) {
            (AzureProof::AccountKey(_), _) => {
                "AZURE_ACCOUNT_KEY is no key of the account of AZURE_ACCOUNT_NAME".to_owned()
            }
            (AzureProof::SharedAccessSignature(_), Some(time)) => {
                format!("AZURE_ACCOUNT_SAS is valid until {time}")
            }
            (AzureProof::SharedAccessSignature(_), None) => "look at AZURE_ACCOUNT_SAS".to_owned(),
            (AzureProof::WorkloadIdentity { .. }, _) => "they are of the workload identity".to_owned(),
        };
        let rights = match &self.source {
            AzureProof::AccountKey(_) => {
                "look at AZURE_ACCOUNT_KEY and AZURE_ACCOUNT_NAME, and from which networks the account may be used"
            }
            AzureProof::SharedAccessSignature(_) => {
                "look at the rights of AZURE_ACCOUNT_SAS, and from which networks the account may be used"
            }
            AzureProof::WorkloadIdentity { .. } => {
                "the workload identity needs a role as Storage Blob Data Contributor has it"
            }
        };
        Hint { credentials, rights }
    }

    fn failed(&self, failed: Unexchanged) -> Failed {
        if let AzureProof::WorkloadIdentity { token_file, .. } = &self.source
            && let Some(of_file) = failed.of_token_file("AZURE_FEDERATED_TOKEN_FILE", token_file)
        {
            return of_file;
        }
        let (kind, what) = match failed.is_refused() {
            true => (ErrorKind::PermissionDenied, "the platform hands out no token"),
            false => (ErrorKind::Unavailable, "the platform did not hand out a token"),
        };
        Failed::because(kind, format!("{what}: {}", explained(&failed)))
    }
}

fn fixed(credential: AzureCredential) -> AzureCredentialProvider {
    Arc::new(StaticCredentialProvider::new(credential))
}

fn provider(source: &AzureProof, connector: &Connector) -> Result<AzureCredentialProvider, String> {
    match source {
        AzureProof::AccountKey(key) => {
            // The library's own words name a letter of the key.
            let no_key = |_| "AZURE_ACCOUNT_KEY is no key: it is not base64".to_owned();
            let key = AzureAccessKey::try_new(text(key, "AZURE_ACCOUNT_KEY")?).map_err(no_key)?;
            Ok(fixed(AzureCredential::AccessKey(key)))
        }
        AzureProof::SharedAccessSignature(signature) => {
            Ok(fixed(AzureCredential::SASToken(read_signature(signature)?)))
        }
        AzureProof::WorkloadIdentity { client_id, tenant_id, token_file, authority } => {
            let mut builder = MicrosoftAzureBuilder::new()
                // Of no account: only the credentials are taken from what is built.
                .with_account("account")
                .with_container_name("container")
                .with_retry(RETRY)
                .with_http_connector(connector.clone())
                .with_config(AzureConfigKey::ClientId, client_id)
                .with_config(AzureConfigKey::AuthorityId, tenant_id)
                .with_config(AzureConfigKey::FederatedTokenFile, path_text(token_file)?);
            if let Some(authority) = authority {
                // Kubernetes writes one slash at the end, and the library another.
                builder = builder.with_authority_host(authority.trim_end_matches('/'));
            }
            let built = builder.build().map_err(|e| format!("set up credentials: {e}"))?;
            Ok(Arc::clone(built.credentials()))
        }
    }
}

/// With or without the question mark before it.
fn read_signature(signature: &Secret) -> Result<Vec<(String, String)>, String> {
    let wrong = |why| format!("AZURE_ACCOUNT_SAS is no shared access signature: {why}");
    let pairs = split_sas(text(signature, "AZURE_ACCOUNT_SAS")?)
        .map_err(|_| wrong("it is not made of names with values"))?;
    if !pairs.iter().all(|(key, _)| key.chars().all(|c| c.is_ascii_alphanumeric())) {
        return Err(wrong("give what follows the question mark of a URL"));
    }
    match pairs.iter().any(|(key, value)| key == "sig" && !value.is_empty()) {
        true => Ok(pairs),
        false => Err(wrong("it has no sig")),
    }
}

/// So that a value in the wrong place is not shown.
fn is_time(text: &str) -> bool {
    text.len() <= 40 && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ':' | 'T' | 'Z' | '.'))
}

fn text<'a>(secret: &'a Secret, name: &str) -> Result<&'a str, String> {
    secret.expose_text().ok_or_else(|| format!("{name} is no text"))
}

/// What the platform says, without what is only for its own people (identifiers of the request, in further lines).
fn explained(failed: &Unexchanged) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
        #[serde(default)]
        error_description: String,
    }
    let refusal = failed.why.find('{').and_then(|start| {
        let mut found = serde_json::Deserializer::from_str(&failed.why[start..]).into_iter::<Refusal>();
        found.next()?.ok()
    });
    match (refusal, failed.status) {
        (Some(Refusal { error, error_description }), _) => match error_description.lines().next() {
            Some(line) => format!("{line} ({error})"),
            None => error,
        },
        (None, Some(status)) => format!("it answers {status}"),
        (None, None) => failed.why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::Options;

    fn identity(source: &AzureProof) -> Result<Identity, String> {
        Identity::new(source, &Transfer::new(&Options::default()).unwrap())
    }

    fn signature(text: &str) -> AzureProof {
        AzureProof::SharedAccessSignature(Secret::new(text))
    }

    #[tokio::test]
    async fn a_signature_may_have_its_question_mark_and_is_shown_nowhere() {
        for text in
            ["?sv=1&se=2026-11-21T10%3A00Z&sig=hunter2%2B%3D", "sv=1&se=2026-11-21T10:00Z&sig=hunter2+="]
        {
            let identity = identity(&signature(text)).unwrap();
            let pairs = match &*identity.credential().await.unwrap() {
                AzureCredential::SASToken(pairs) => pairs.clone(),
                other => panic!("{other:?}"),
            };
            let expected = [("sv", "1"), ("se", "2026-11-21T10:00Z"), ("sig", "hunter2+=")];
            assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
            assert_eq!(identity.hint().credentials, "AZURE_ACCOUNT_SAS is valid until 2026-11-21T10:00Z");
            assert!(!format!("{identity:?}").contains("hunter2"));
            assert!(!identity.renew());
        }
    }

    #[test]
    fn what_proves_nothing_is_refused_without_being_repeated() {
        for source in [
            signature("hunter2"),
            signature("sv=1&hunter2=%ff"),
            signature("sv=hunter2"),
            signature("sv=hunter2&sig="),
            signature("https://acc.blob.core.windows.net/?sv=1&sig=hunter2"),
            AzureProof::AccountKey(Secret::new("hunter2!")),
        ] {
            let said = identity(&source).unwrap_err();
            assert!(said.starts_with("AZURE_ACCOUNT_") && !said.contains("hunter2"), "{said}");
        }
        assert!(!identity(&signature("sig=x&se=hunter2")).unwrap().hint().credentials.contains("hunter2"));
    }

    #[test]
    fn what_the_platform_says_is_told_in_one_line() {
        let body = "Server returned non-2xx status code: 400 Bad Request: {\"error\":\"invalid_client\",\
            \"error_description\":\"AADSTS700016: no such application.\\r\\nTrace ID: 1\"}";
        for (status, why, expected) in [
            (Some(400), body, "AADSTS700016: no such application. (invalid_client)"),
            (Some(400), "x: {\"error\":\"invalid_client\"}", "invalid_client"),
            (Some(502), "<html>", "it answers 502"),
            (None, "connection refused", "connection refused"),
        ] {
            assert_eq!(explained(&Unexchanged { status, why: why.to_owned() }), expected);
        }
    }
}
