//! Where an account's blobs are: a host of one of the clouds, or a whole URL.
//!
//! What comes from the settings is checked before it becomes part of a URL, and is never repeated where it is refused:
//! an endpoint may have been pasted with a signature in its query.

use reqwest::Url;

use crate::credentials::{AzureCredentials, AzureEndpoint, AzureProof};
use crate::location::Endpoint;
use crate::remote::{escape, escape_component};

/// A container of an account.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub name: String,
    /// Without a slash at its end.
    container: Url,
}

impl Account {
    /// The error is a sentence about the settings.
    pub(super) fn new(credentials: &AzureCredentials, container: &str) -> Result<Self, String> {
        let name = &credentials.account;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err("AZURE_ACCOUNT_NAME is no name of an account".to_owned());
        }
        let (variable, text) = match &credentials.endpoint {
            AzureEndpoint::Suffix(suffix) => {
                let endpoint = Endpoint::parse(&format!("https://{name}.blob.{suffix}"))
                    .map_err(|why| format!("AZURE_ENDPOINT_SUFFIX: {why}"))?;
                ("AZURE_ENDPOINT_SUFFIX", endpoint.to_string())
            }
            AzureEndpoint::Url(url) => ("AZURE_STORAGE_ENDPOINT", url.clone()),
        };
        let wrong = |why: &str| format!("{variable} {why}");
        let mut url = Url::parse(&text).map_err(|e| wrong(&format!("is no URL: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong("begins with http:// or https:// and a host"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong("holds a credential: those belong into the Secret"));
        }
        let is_token = matches!(credentials.proof, AzureProof::WorkloadIdentity { .. });
        if is_token && url.scheme() != "https" {
            return Err(wrong("is http://, over which a workload identity's token would be read by others"));
        }
        url.set_fragment(None);
        let path = format!("{}/{}", url.path().trim_end_matches('/'), escape_component(container));
        url.set_path(&path);
        Ok(Self { name: name.clone(), container: url })
    }

    /// The URL of a blob, or of the container.
    pub(super) fn url(&self, name: Option<&str>, query: &[(&'static str, &str)]) -> Url {
        let mut url = self.container.clone();
        if let Some(name) = name {
            url.set_path(&format!("{}/{}", url.path(), escape(name)));
        }
        if !query.is_empty() {
            let pairs: Vec<_> =
                query.iter().map(|(key, value)| format!("{key}={}", escape_component(value))).collect();
            url.set_query(Some(&pairs.join("&")));
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn account(name: &str, endpoint: AzureEndpoint) -> Result<Account, String> {
        let proof = AzureProof::AccountKey(Secret::new("a2V5"));
        Account::new(&AzureCredentials { account: name.to_owned(), endpoint, proof }, "c")
    }

    fn suffix(text: &str) -> AzureEndpoint {
        AzureEndpoint::Suffix(text.to_owned())
    }

    fn whole(text: &str) -> AzureEndpoint {
        AzureEndpoint::Url(text.to_owned())
    }

    #[test]
    fn urls_are_those_of_the_clouds_and_of_other_servers() {
        for (endpoint, url) in [
            (suffix("core.windows.net"), "https://acc.blob.core.windows.net/c"),
            (suffix("core.usgovcloudapi.net"), "https://acc.blob.core.usgovcloudapi.net/c"),
            (whole("http://127.0.0.1:10000/acc"), "http://127.0.0.1:10000/acc/c"),
            (whole("https://blob.example.com"), "https://blob.example.com/c"),
            (whole("https://blob.example.com/"), "https://blob.example.com/c"),
        ] {
            let account = account("acc", endpoint).unwrap();
            assert_eq!(account.url(None, &[]).as_str(), url);
            assert_eq!(
                account.url(Some("a b+ü/config"), &[]).as_str(),
                format!("{url}/a%20b%2B%C3%BC/config")
            );
            let query = [("comp", "list"), ("prefix", "a b/")];
            assert_eq!(account.url(None, &query).as_str(), format!("{url}?comp=list&prefix=a%20b%2F"));
        }
    }

    #[test]
    fn an_endpoint_that_is_none_is_refused_without_being_repeated() {
        for (name, endpoint) in [
            ("", suffix("core.windows.net")),
            ("acc.evil.example/", suffix("core.windows.net")),
            ("acc", suffix("core.windows.net/hunter2")),
            ("acc", suffix("core@hunter2")),
            ("acc", whole("hunter2")),
            ("acc", whole("ftp://hunter2/")),
            ("acc", whole("https://user:hunter2@host/")),
            ("acc", whole("https://host/acc?sv=1&sig=hunter2")),
        ] {
            let said = account(name, endpoint).unwrap_err();
            assert!(said.starts_with("AZURE_") && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_token_goes_over_tls_only() {
        let proof = AzureProof::WorkloadIdentity {
            client_id: "c".to_owned(),
            tenant_id: "t".to_owned(),
            token_file: "/t".into(),
            authority: None,
        };
        let endpoint = |url: &str| AzureCredentials {
            account: "acc".to_owned(),
            endpoint: whole(url),
            proof: proof.clone(),
        };
        assert!(Account::new(&endpoint("http://127.0.0.1:10000/acc"), "c").is_err());
        assert!(Account::new(&endpoint("https://127.0.0.1:10000/acc"), "c").is_ok());
    }
}
