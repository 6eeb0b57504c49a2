//! Stock restic against a server, by its own clients: the oracle of what we wrote there.

use std::path::PathBuf;
use std::process::Command;

use super::vendor::Proxy;
use super::{Credentials, Kind, Security, Server};

/// What [`Server::restic`] opens repositories with.
pub const RESTIC_PASSWORD: &str = "password of the tests";

/// Settings of the caller's environment that restic, or a client in it, would take for its own.
pub const FOREIGN: [&str; 7] = ["RESTIC_", "AWS_", "AZURE_", "B2_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// What a repository in a server is opened with, in the words and variables of stock restic.
#[derive(Clone, Debug)]
pub struct RepositoryAccess {
    pub location: String,
    pub variables: Vec<(&'static str, String)>,
    /// For `--cacert`.
    pub ca: PathBuf,
}

impl Server {
    /// restic with the repository below `prefix` of the bucket (or container), to be given a verb. It keeps no cache:
    /// what it says of the repository is what lies in the store.
    pub fn restic(&self, bucket: &str, prefix: &str) -> Command {
        self.restic_as(self.credentials(), bucket, prefix)
    }

    /// The same, as another user.
    pub fn restic_as(&self, user: &Credentials, bucket: &str, prefix: &str) -> Command {
        let mut command = Command::new(self.restic_binary());
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if FOREIGN.iter().any(|foreign| upper.starts_with(foreign)) {
                command.env_remove(&name);
            }
        }
        let access = self.access(user, bucket, prefix);
        command.env("RESTIC_PASSWORD", RESTIC_PASSWORD).envs(access.variables);
        command.arg("--no-cache").arg("--cacert").arg(access.ca).arg("--repo").arg(access.location);
        command
    }

    /// The repository below `prefix` of the bucket (or container) as stock restic reaches it.
    pub fn access(&self, user: &Credentials, bucket: &str, prefix: &str) -> RepositoryAccess {
        let (repository, id, secret) = match self.kind() {
            Kind::Azurite => (format!("azure:{bucket}:/{prefix}"), "AZURE_ACCOUNT_NAME", "AZURE_ACCOUNT_KEY"),
            Kind::B2 => (format!("b2:{bucket}:/{prefix}"), "B2_ACCOUNT_ID", "B2_ACCOUNT_KEY"),
            Kind::Ceph | Kind::SeaweedFs | Kind::Versity | Kind::Minio => (
                format!("s3:{}/{bucket}/{prefix}", self.endpoint()),
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
            ),
        };
        let mut variables = vec![(id, user.id.clone()), (secret, user.secret.clone())];
        if matches!(self.kind(), Kind::Azurite | Kind::B2) {
            // Neither takes an endpoint: both ask for the vendor's names over TLS, and both take a proxy.
            variables.push(("HTTPS_PROXY", self.vendor_proxy()));
        }
        RepositoryAccess { location: repository, variables, ca: self.ca().to_owned() }
    }

    /// The stock restic that has a client for this kind of store.
    pub fn restic_binary(&self) -> PathBuf {
        match (self.kind(), std::env::var_os("PILLION_TEST_RESTIC")) {
            // Newer ones of Debian have no client for it.
            (Kind::Azurite, _) => super::tool("restic-with-azure/usr/bin/restic"),
            (_, Some(restic)) => restic.into(),
            (_, None) => super::tool("bin/restic"),
        }
    }

    /// A proxy for clients that ask for the vendor's own host names, always over TLS: `https://api.backblazeb2.com`,
    /// `https://pillionstore.blob.core.windows.net`.
    pub fn vendor_proxy(&self) -> String {
        let proxy = self.proxy.get_or_init(|| match (self.tls_port, self.security) {
            (Some(port), _) => Proxy::to_tls(port),
            (None, Security::Tls) => Proxy::to_tls(self.port),
            (None, Security::Plain) => Proxy::to_plain(self.port, &self.certificate),
        });
        proxy.url()
    }
}
