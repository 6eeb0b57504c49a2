//! A repository's whole life in each store that users have, with the programs they run and stock restic beside them.
//!
//! The servers are real ones; what cannot be had of them (a bad day of the network) comes from a proxy in between.

mod faults;
mod life;
mod requests;
mod secrets;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use pillion_e2e::servers::{Kind, RESTIC_PASSWORD, Server};

use crate::scene::{Printed, Scene, check_failure};

/// A place for one repository at a server.
pub(crate) struct Store {
    server: &'static Server,
    bucket: String,
    /// Of the server, or of who stands before it.
    endpoint: String,
}

const PREFIX: &str = "demo/deployment/my-deploy";

impl Store {
    pub(crate) fn new(server: &'static Server) -> Self {
        Self::behind(server, server.endpoint())
    }

    /// The server, asked through somebody else.
    fn behind(server: &'static Server, endpoint: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let bucket = format!("pillion-life-{}-{number}", std::process::id());
        Self { server, bucket, endpoint: endpoint.to_owned() }
    }

    pub(crate) fn location(&self) -> String {
        match self.server.kind() {
            Kind::Azurite => format!("azure:{}:/{PREFIX}", self.bucket),
            Kind::B2 => format!("b2:{}:/{PREFIX}", self.bucket),
            _ => format!("s3:{}/{}/{PREFIX}", self.endpoint, self.bucket),
        }
    }

    /// The keys a user has in the Secret, and where the server is if the location does not say it.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let credentials = self.server.credentials();
        let (id, secret) = match self.server.kind() {
            Kind::Azurite => ("AZURE_ACCOUNT_NAME", "AZURE_ACCOUNT_KEY"),
            Kind::B2 => ("B2_ACCOUNT_ID", "B2_ACCOUNT_KEY"),
            _ => ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        };
        let mut variables = vec![
            (id, credentials.id.clone()),
            (secret, credentials.secret.clone()),
            ("CA_CERT_DATA", std::fs::read_to_string(self.server.ca()).unwrap()),
            ("RESTIC_PASSWORD", RESTIC_PASSWORD.to_owned()),
        ];
        match self.server.kind() {
            Kind::Azurite => variables.push(("AZURE_STORAGE_ENDPOINT", self.endpoint.clone())),
            Kind::B2 => variables.push(("B2_API_URL", self.endpoint.clone())),
            _ => {}
        }
        variables
    }

    fn command(&self, scene: &Scene, arguments: &[&str]) -> Command {
        let mut command = scene.command(arguments);
        command.env("RESTIC_REPOSITORY", self.location()).envs(self.variables());
        command
    }

    fn run(&self, scene: &Scene, arguments: &[&str]) -> Printed {
        self.command(scene, arguments).output().unwrap().into()
    }

    /// pillion, which has to succeed; it may tell that it tried again.
    fn ok(&self, scene: &Scene, arguments: &[&str]) -> String {
        let printed = self.run(scene, arguments);
        assert_eq!(printed.code, 0, "{arguments:?}: {}{}", printed.out, printed.err);
        printed.out
    }

    fn fails(&self, scene: &Scene, code: i32, arguments: &[&str]) -> String {
        let printed = self.run(scene, arguments);
        check_failure(&printed, code, &format!("{arguments:?}"));
        printed.err
    }

    /// Stock restic by its own client, which has to succeed.
    fn restic(&self, arguments: &[&str]) -> String {
        let output = self.server.restic(&self.bucket, PREFIX).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "restic {arguments:?}: {out}{err}");
        out
    }
}

/// The same files with the same bytes, links and modes.
fn assert_same(left: &Path, right: &Path) {
    let compared =
        Command::new("diff").args(["-r", "--no-dereference"]).args([left, right]).output().unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
}
