//! Stock restic against a server, by its own clients: the oracle of what we wrote there.

use std::process::Command;

use super::Server;

/// What [`Server::restic`] opens repositories with.
pub const RESTIC_PASSWORD: &str = "password of the tests";

/// Settings of the caller's environment that restic, or a client in it, would take for its own.
const FOREIGN: [&str; 7] = ["RESTIC_", "AWS_", "AZURE_", "B2_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

impl Server {
    /// restic with the repository below `prefix` of the bucket (or container), to be given a verb. It keeps no cache:
    /// what it says of the repository is what lies in the store.
    pub fn restic(&self, bucket: &str, prefix: &str) -> Command {
        let restic =
            std::env::var_os("PILLION_TEST_RESTIC").unwrap_or_else(|| super::tool("bin/restic").into());
        let mut command = Command::new(restic);
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if FOREIGN.iter().any(|foreign| upper.starts_with(foreign)) {
                command.env_remove(&name);
            }
        }
        command.env("RESTIC_PASSWORD", RESTIC_PASSWORD).arg("--no-cache").arg("--cacert").arg(self.ca());
        command.arg("--repo").arg(format!("s3:{}/{bucket}/{prefix}", self.endpoint()));
        command.env("AWS_ACCESS_KEY_ID", &self.credentials.id);
        command.env("AWS_SECRET_ACCESS_KEY", &self.credentials.secret);
        command
    }
}
