//! Prometheus, which scrapes what a test names and says what it has seen; and promtool, which judges metrics and rules.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::certificate::Certificate;
use super::http::Client;
use super::process::{self, Ports, Process};
use super::{START_MAX, START_TRIES_MAX, tool};

/// A running Prometheus; dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct Prometheus {
    port: u16,
    client: Client,
    process: Process,
}

impl Prometheus {
    /// Scrapes `targets`, each an address, every second as the job `pillion`, and evaluates the rules of a file.
    pub fn start(targets: &[&str], rules: &Path) -> Self {
        (0..START_TRIES_MAX)
            .find_map(|_| Self::try_start(targets, rules))
            .expect("Prometheus ended by itself each time it was started")
    }

    fn try_start(targets: &[&str], rules: &Path) -> Option<Self> {
        let folder = process::folder();
        let certificate = Certificate::write(folder.path());
        let client = Client::new(&certificate.ca);
        let config = folder.path().join("prometheus.yml");
        fs::write(&config, settings(targets, rules)).expect("the folder is ours");
        let port = Ports::default().take();
        let mut command = Command::new(tool("prometheus/usr/bin/prometheus"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = Process::start(folder, &command);
        let prometheus = Self { port, client, process };
        let deadline = Instant::now() + START_MAX;
        while !matches!(prometheus.ask("/-/ready"), Ok((200, _))) {
            if prometheus.process.has_ended() {
                return None;
            }
            assert!(Instant::now() < deadline, "Prometheus is not ready: {}", prometheus.process.log_end());
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(prometheus)
    }

    /// What an expression is now: a list of series, each with its labels (`metric`) and its value. One that Prometheus does
    /// not take is a panic with its words.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let (status, body) =
            self.ask(&format!("/api/v1/query?query={}", escape(expression))).expect("it answers");
        let answer: Value = serde_json::from_str(&body).expect("it answers in JSON");
        assert_eq!(status, 200, "{expression}: {body}");
        match answer["data"]["resultType"].as_str() {
            Some("vector") => answer["data"]["result"].as_array().cloned().unwrap_or_default(),
            _ => vec![answer["data"].clone()],
        }
    }

    /// The value of the only series that an expression is, if it is one.
    pub fn value(&self, expression: &str) -> Option<f64> {
        match &self.query(expression)[..] {
            [only] => only["value"][1].as_str()?.parse().ok(),
            _ => None,
        }
    }

    fn ask(&self, path: &str) -> Result<(u16, String), String> {
        self.client.ask("GET", &format!("http://127.0.0.1:{}{path}", self.port), String::new())
    }
}

/// promtool, for one command.
pub fn promtool() -> Command {
    Command::new(tool("prometheus/usr/bin/promtool"))
}

fn settings(targets: &[&str], rules: &Path) -> String {
    let targets: Vec<String> = targets.iter().map(|target| format!("'{target}'")).collect();
    format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\n\
         scrape_configs: [{{job_name: pillion, static_configs: [{{targets: [{}]}}]}}]\n",
        rules.display(),
        targets.join(", ")
    )
}

/// All but letters and digits, which is more than a query asks.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte.is_ascii_alphanumeric() {
            true => escaped.push(char::from(byte)),
            false => write!(escaped, "%{byte:02X}").expect("text takes everything"),
        }
        escaped
    })
}
