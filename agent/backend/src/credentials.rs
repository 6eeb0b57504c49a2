//! Who we are to a store: read from named values, checked as a whole, shown to nobody.
//!
//! The names are those of the Secrets that users of Stash have. Where a Secret holds no keys, the platform may
//! vouch for the pod; what it tells us comes from the environment alone. Reads no file and no variable by itself:
//! the caller says where the values are. What is missing is told all at once.

use std::path::PathBuf;

use crate::location::Location;
use crate::secret::Secret;

/// Where values come from.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// The storage Secret: one whole set from one place.
    pub secret: &'a dyn Fn(&str) -> Option<Secret>,
    /// The environment, for what the platform tells a pod and what is no secret.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Values<'_> {
    /// An empty value is none: an environment made from an empty key of a Secret has one.
    fn secret(&self, name: &str) -> Option<Secret> {
        (self.secret)(name).filter(|secret| !secret.is_empty())
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }
}

impl std::fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Values")
    }
}

/// The names a storage Secret may have: a caller reads these and no others.
pub const SECRET_NAMES: [&str; 14] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_ACCOUNT_NAME",
    "AZURE_ACCOUNT_KEY",
    "AZURE_ACCOUNT_SAS",
    "AZURE_ENDPOINT_SUFFIX",
    "AZURE_STORAGE_ENDPOINT",
    "B2_ACCOUNT_ID",
    "B2_ACCOUNT_KEY",
    "CA_CERT_DATA",
    "MINIO_ACCESS_KEY",
    "MINIO_SECRET_KEY",
    "RESTIC_PASSWORD",
];

/// Of these, what says where a store is rather than who we are there: the environment's counts where a Secret has none.
pub const PLACE_NAMES: [&str; 2] = ["AZURE_ENDPOINT_SUFFIX", "AZURE_STORAGE_ENDPOINT"];

/// The credentials of one store. Two that are equal open the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A directory asks for none.
    Local,
    S3(S3Credentials),
    Azure(AzureCredentials),
    B2(B2Credentials),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum S3Credentials {
    Static {
        key_id: String,
        secret_key: Secret,
        session_token: Option<Secret>,
    },
    /// A service account's token is exchanged for keys (IRSA).
    WebIdentity {
        role_arn: String,
        token_file: PathBuf,
        session_name: Option<String>,
        /// The token service, where it is not the region's.
        endpoint: Option<String>,
    },
    /// An agent on the node hands out keys (EKS pod identity).
    PodIdentity {
        url: String,
        token_file: PathBuf,
    },
    /// The machine's own role.
    InstanceProfile {
        /// The metadata service, where it is not the usual one.
        endpoint: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureCredentials {
    pub account: String,
    pub endpoint: AzureEndpoint,
    pub proof: AzureProof,
}

/// Where an account's blobs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureEndpoint {
    /// `https://ACCOUNT.blob.SUFFIX`, of one of the clouds.
    Suffix(String),
    /// A whole URL, to which the container's name is added, as Azurite has it.
    Url(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureProof {
    AccountKey(Secret),
    SharedAccessSignature(Secret),
    /// A service account's token is exchanged for one of the store.
    WorkloadIdentity {
        client_id: String,
        tenant_id: String,
        token_file: PathBuf,
        authority: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct B2Credentials {
    pub key_id: String,
    pub key: Secret,
    /// Another server than Backblaze's; from the environment only, since the key is sent there.
    pub endpoint: Option<String>,
    /// The way in which the service shall fail now and then, to see what its clients make of it.
    pub test_mode: Option<String>,
}

impl Credentials {
    /// The credentials for a location, or everything that is wrong with them, a sentence each.
    pub fn read(location: &Location, values: &Values<'_>) -> Result<Self, Vec<String>> {
        match location {
            Location::Local(_) => Ok(Self::Local),
            Location::S3(_) => s3(values).map(Self::S3),
            Location::Azure(_) => azure(values).map(Self::Azure),
            Location::B2(_) => b2(values).map(Self::B2),
        }
    }
}

fn s3(values: &Values<'_>) -> Result<S3Credentials, Vec<String>> {
    let mut missing = Missing::default();
    let key_id = values.secret("AWS_ACCESS_KEY_ID");
    let secret_key = values.secret("AWS_SECRET_ACCESS_KEY");
    let (minio_id, minio_key) = ("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY");
    let has_any = key_id.is_some() || secret_key.is_some();
    if !has_any && [minio_id, minio_key].iter().all(|name| values.secret(name).is_none()) {
        return s3_of_the_platform(values);
    }
    let key_id = missing.renamed("AWS_ACCESS_KEY_ID", key_id, minio_id, values);
    let secret_key = Secret::new(missing.renamed("AWS_SECRET_ACCESS_KEY", secret_key, minio_key, values));
    let session_token =
        values.secret("AWS_SESSION_TOKEN").map(|token| missing.text_secret("AWS_SESSION_TOKEN", Some(token)));
    missing.or(S3Credentials::Static { key_id, secret_key, session_token })
}

fn s3_of_the_platform(values: &Values<'_>) -> Result<S3Credentials, Vec<String>> {
    const ROLE: [&str; 2] = ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"];
    const POD: [&str; 2] = ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
    let variable = |name: &str| values.variable(name);
    let pair = |[first, second]: [&str; 2]| (variable(first), variable(second));
    match (pair(ROLE), pair(POD)) {
        ((Some(role_arn), Some(token_file)), _) => Ok(S3Credentials::WebIdentity {
            role_arn,
            token_file: token_file.into(),
            session_name: variable("AWS_ROLE_SESSION_NAME"),
            endpoint: variable("AWS_ENDPOINT_URL_STS"),
        }),
        (_, (Some(url), Some(token_file))) => {
            Ok(S3Credentials::PodIdentity { url, token_file: token_file.into() })
        }
        ((None, None), (None, None)) => {
            Ok(S3Credentials::InstanceProfile { endpoint: variable("AWS_EC2_METADATA_SERVICE_ENDPOINT") })
        }
        // The machine's own role was not meant.
        (role, pod) => Err([(ROLE, role), (POD, pod)]
            .into_iter()
            .filter_map(|([first, second], values)| match values {
                (Some(_), None) => Some(format!("{second} is missing, and {first} is set")),
                (None, Some(_)) => Some(format!("{first} is missing, and {second} is set")),
                _ => None,
            })
            .collect()),
    }
}

fn azure(values: &Values<'_>) -> Result<AzureCredentials, Vec<String>> {
    let mut missing = Missing::default();
    let account = missing.text("AZURE_ACCOUNT_NAME", values.secret("AZURE_ACCOUNT_NAME"));
    let proof = match (values.secret("AZURE_ACCOUNT_KEY"), values.secret("AZURE_ACCOUNT_SAS")) {
        (Some(key), _) => AzureProof::AccountKey(missing.text_secret("AZURE_ACCOUNT_KEY", Some(key))),
        (None, Some(sas)) => {
            AzureProof::SharedAccessSignature(missing.text_secret("AZURE_ACCOUNT_SAS", Some(sas)))
        }
        (None, None) => workload_identity(values).unwrap_or_else(|| {
            missing.0.push(
                "AZURE_ACCOUNT_KEY is missing (or AZURE_ACCOUNT_SAS, or the variables of a workload identity: \
                 AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE)"
                    .to_owned(),
            );
            AzureProof::AccountKey(Secret::new(""))
        }),
    };
    let endpoint = azure_endpoint(values, &mut missing);
    missing.or(AzureCredentials { account, endpoint, proof })
}

/// The Secret's word stands before the environment's, whichever of the two names it is under.
fn azure_endpoint(values: &Values<'_>, missing: &mut Missing) -> AzureEndpoint {
    let (whole, suffix) = ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT_SUFFIX");
    let mut of_secret = |name| values.secret(name).map(|value| missing.text(name, Some(value)));
    let url = |text: String| AzureEndpoint::Url(text.trim_end_matches('/').to_owned());
    let found = of_secret(whole).map(url).or_else(|| of_secret(suffix).map(AzureEndpoint::Suffix));
    let found = found.or_else(|| values.variable(whole).map(url));
    let found = found.or_else(|| values.variable(suffix).map(AzureEndpoint::Suffix));
    found.unwrap_or_else(|| AzureEndpoint::Suffix("core.windows.net".to_owned()))
}

fn workload_identity(values: &Values<'_>) -> Option<AzureProof> {
    Some(AzureProof::WorkloadIdentity {
        client_id: values.variable("AZURE_CLIENT_ID")?,
        tenant_id: values.variable("AZURE_TENANT_ID")?,
        token_file: values.variable("AZURE_FEDERATED_TOKEN_FILE")?.into(),
        authority: values.variable("AZURE_AUTHORITY_HOST"),
    })
}

fn b2(values: &Values<'_>) -> Result<B2Credentials, Vec<String>> {
    let mut missing = Missing::default();
    let key_id = missing.text("B2_ACCOUNT_ID", values.secret("B2_ACCOUNT_ID"));
    let key = missing.text_secret("B2_ACCOUNT_KEY", values.secret("B2_ACCOUNT_KEY"));
    let endpoint = values.variable("B2_API_URL");
    missing.or(B2Credentials { key_id, key, endpoint, test_mode: values.variable("B2_TEST_MODE") })
}

/// What is wrong so far.
#[derive(Default)]
struct Missing(Vec<String>);

impl Missing {
    /// A value that goes into a header or a URL. The newline of a Secret made with `echo` is not part of it.
    fn text(&mut self, name: &str, value: Option<Secret>) -> String {
        let Some(value) = value else {
            self.0.push(format!("{name} is missing"));
            return String::new();
        };
        let text = value.expose_text().map(|text| text.trim_end_matches(['\n', '\r']));
        match text {
            Some(text) if !text.is_empty() && !text.chars().any(char::is_control) => text.to_owned(),
            _ => {
                self.0.push(format!("{name} is no text of one line"));
                String::new()
            }
        }
    }

    /// As [`Self::text`], of a value that Secrets have under another name too.
    fn renamed(&mut self, name: &str, value: Option<Secret>, other: &str, values: &Values<'_>) -> String {
        if value.is_none() && values.secret(other).is_some() {
            self.0.push(format!("{other} is not read: name it {name}"));
            return String::new();
        }
        self.text(name, value)
    }

    fn text_secret(&mut self, name: &str, value: Option<Secret>) -> Secret {
        Secret::new(self.text(name, value))
    }

    fn or<T>(self, value: T) -> Result<T, Vec<String>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

#[cfg(test)]
mod tests;
