//! Who we are to a store: credentials, trusted certificates, and what else the environment says of it.
//!
//! Both doors come through here. Where the values of the storage Secret are is said by the caller; what is no secret
//! (a role, a token's file, a region) is always the environment's. Tells of a value its name and its sort, never itself.

use pillion_backend::credentials::{AzureProof, Credentials, S3Credentials, Values};
use pillion_backend::location::Location;
use pillion_backend::secret::Secret;

use crate::environment::Environment;
use crate::setting::parse_region;

/// The certificates to trust beside the public ones, in PEM.
pub const CA_CERTIFICATES: &str = "CA_CERT_DATA";

/// A whole Secret is not larger; the bundle of a distribution has a quarter of it.
pub const MAX_CERTIFICATES_BYTES: u64 = 1 << 20;

/// In this order: restic reads the first and not the second, which a cluster sets for each pod, whatever its bucket.
const REGION: [&str; 2] = ["AWS_DEFAULT_REGION", "AWS_REGION"];

/// What opens a store. Two that are equal open the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreAccess {
    pub credentials: Credentials,
    /// Trusted beside the public ones, in PEM.
    pub ca_certificates: Vec<u8>,
    /// What the environment says of it; who writes settings or options knows better.
    pub region: Option<String>,
}

impl StoreAccess {
    /// Reads what a location asks for, or everything that is wrong with it, a sentence each.
    pub fn read(
        location: &Location,
        secret: &dyn Fn(&str) -> Option<Secret>,
        environment: &Environment,
    ) -> Result<Self, Vec<String>> {
        let variable = |name: &str| environment.text(name);
        let mut problems = Vec::new();
        let credentials = Credentials::read(location, &Values { secret, environment: &variable })
            .map_err(|missing| problems.extend(missing));
        let mut note = |name: &str, problem: String| problems.push(format!("{name}: {problem}"));
        let given = match location {
            Location::Local(_) => None,
            _ => secret(CA_CERTIFICATES).filter(|data| !data.is_empty()),
        };
        let ca_certificates = given.map(|data| data.expose().to_vec()).unwrap_or_default();
        if !ca_certificates.is_empty() && !holds_certificate(&ca_certificates) {
            note(CA_CERTIFICATES, "holds no certificate in PEM".to_owned());
        }
        let region = match location {
            Location::S3(_) => REGION.iter().find_map(|name| Some((name, variable(name)?))),
            _ => None,
        };
        let region =
            region.and_then(|(name, text)| parse_region(&text).map_err(|problem| note(name, problem)).ok());
        match credentials {
            Ok(credentials) if problems.is_empty() => Ok(Self { credentials, ca_certificates, region }),
            _ => Err(problems),
        }
    }

    /// Everything from the environment, as the command line has it.
    pub fn of_environment(location: &Location, environment: &Environment) -> Result<Self, Vec<String>> {
        Self::read(location, &|name| environment.secret(name), environment)
    }

    /// What kind of credentials these are, for people.
    pub fn sort(&self) -> &'static str {
        match &self.credentials {
            Credentials::Local => "none needed",
            Credentials::S3(S3Credentials::Static { session_token: None, .. }) => "access key",
            Credentials::S3(S3Credentials::Static { session_token: Some(_), .. }) => "temporary access key",
            Credentials::S3(S3Credentials::WebIdentity { .. }) => "role of the service account (IRSA)",
            Credentials::S3(S3Credentials::PodIdentity { .. }) => "EKS pod identity",
            Credentials::S3(S3Credentials::InstanceProfile { .. }) => "instance profile",
            Credentials::Azure(azure) => match azure.proof {
                AzureProof::AccountKey(_) => "account key",
                AzureProof::SharedAccessSignature(_) => "shared access signature",
                AzureProof::WorkloadIdentity { .. } => "workload identity",
            },
            Credentials::B2(_) => "application key",
        }
    }
}

/// Whether there is anything to trust in a file: one that holds none would be found out only by the first call.
pub fn holds_certificate(pem: &[u8]) -> bool {
    let begin = b"-----BEGIN CERTIFICATE-----";
    pem.windows(begin.len()).any(|window| window == begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(location: &str, variables: &[(&str, &str)]) -> Result<StoreAccess, Vec<String>> {
        let environment = Environment::from_iter(variables.iter().copied());
        StoreAccess::of_environment(&Location::parse(location).unwrap(), &environment)
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_and_no_value() {
        let problems = read(
            "s3:h/b",
            &[("AWS_ACCESS_KEY_ID", "hunter2"), ("CA_CERT_DATA", "hunter3"), ("AWS_REGION", "hunter 4")],
        )
        .unwrap_err();
        assert_eq!(
            problems,
            [
                "AWS_SECRET_ACCESS_KEY is missing",
                "CA_CERT_DATA: holds no certificate in PEM",
                "AWS_REGION: a region is at most 64 letters, digits, dashes, dots and underscores"
            ]
        );
        let minio = read("s3:h/b", &[("MINIO_ACCESS_KEY", "a"), ("MINIO_SECRET_KEY", "b")]).unwrap_err();
        assert!(minio[0].contains("AWS_ACCESS_KEY_ID") && minio[1].contains("AWS_SECRET_ACCESS_KEY"));
    }

    #[test]
    fn what_a_store_does_not_ask_for_is_not_looked_at() {
        let access = read("/r", &[("AWS_REGION", "no region"), ("CA_CERT_DATA", "no certificate")]).unwrap();
        assert_eq!((access.region, access.ca_certificates), (None, Vec::new()));
        let keys = [("B2_ACCOUNT_ID", "a"), ("B2_ACCOUNT_KEY", "b"), ("AWS_REGION", "no region")];
        assert_eq!(read("b2:bucket-1:/", &keys).unwrap().region, None);
    }

    #[test]
    fn the_region_that_restic_reads_stands_before_the_clusters() {
        let cluster = ("AWS_REGION", "of-cluster");
        assert_eq!(read("s3:h/b", &[cluster]).unwrap().region.as_deref(), Some("of-cluster"));
        let both = read("s3:h/b", &[cluster, ("AWS_DEFAULT_REGION", "of-bucket")]).unwrap();
        assert_eq!(both.region.as_deref(), Some("of-bucket"));
    }

    #[test]
    fn the_sort_of_credentials_is_told_without_them() {
        let key = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_SESSION_TOKEN", "c")];
        let role = [("AWS_ROLE_ARN", "r"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")];
        let azure = [("AZURE_ACCOUNT_NAME", "a"), ("AZURE_ACCOUNT_SAS", "s"), ("AZURE_ACCOUNT_KEY", "k")];
        for (location, variables, sort) in [
            ("/r", &key[..], "none needed"),
            ("s3:h/b", &key[..2], "access key"),
            ("s3:h/b", &key, "temporary access key"),
            ("s3:h/b", &role, "role of the service account (IRSA)"),
            ("s3:h/b", &[], "instance profile"),
            ("azure:c:/", &azure, "account key"),
            ("azure:c:/", &azure[..2], "shared access signature"),
        ] {
            assert_eq!(read(location, variables).unwrap().sort(), sort, "{location} {variables:?}");
        }
    }
}
