//! Where the agent listens, who may ask it what, and which names its metrics have.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;

use super::raw::{Raw, Text};
use super::{Reader, absolute_path, switchable};

/// Ports that nothing well known has: a native sidecar starts first, and the application's must be free.
const PUBLIC_PORT: u16 = 27411;
const CONTROL_PORT: u16 = 27412;

/// What a request that changes something has to carry: no form of a web page can send it.
pub const HEADER: &str = "x-pillion-request";

const SOCKET: &str = "control.sock";

/// Of an Ed25519 public key.
const KEY_BYTES: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Metrics and liveness; nothing else is ever answered there.
    pub public: Option<SocketAddr>,
    pub control: Option<SocketAddr>,
    /// For our own command line, in a directory that no other container sees.
    pub socket: Option<PathBuf>,
    /// Holds what a client has to show, read anew for each request.
    pub token_file: Option<PathBuf>,
    /// Whoever holds its other half may sign tokens of a few minutes.
    pub key: Option<Vec<u8>>,
    /// For whom a signed token has to be, unless it is the host's name.
    pub instance: Option<String>,
    pub metrics_compat: MetricsCompat,
}

/// Whose names metrics have beside our own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsCompat {
    #[default]
    Off,
    Stash,
}

impl Http {
    /// What counts where nothing is set.
    pub fn usual(cache_directory: &Path) -> Self {
        Self {
            public: Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PUBLIC_PORT)),
            control: Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), CONTROL_PORT)),
            socket: Some(cache_directory.join(SOCKET)),
            token_file: None,
            key: None,
            instance: None,
            metrics_compat: MetricsCompat::Off,
        }
    }

    /// In a pod the host's name is that of the pod.
    pub fn instance(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.instance.clone().unwrap_or_else(host)
    }

    pub(super) fn resolve(read: &mut Reader<'_>, raw: &mut Raw, cache_directory: &Path) -> Self {
        let usual = Self::usual(cache_directory);
        let public = read.optional("publicAddress", raw.public_address.take(), switchable(parse_address));
        let control = read.optional("controlAddress", raw.control_address.take(), switchable(parse_address));
        let socket = read.optional("controlSocket", raw.control_socket.take(), switchable(absolute_path));
        let http = Self {
            public: public.unwrap_or(usual.public),
            control: control.unwrap_or(usual.control),
            socket: socket.unwrap_or(usual.socket),
            token_file: read.optional("controlTokenFile", raw.control_token_file.take(), absolute_path),
            key: read.optional("controlKey", raw.control_key.take(), parse_key),
            instance: read.optional("instance", raw.instance.take(), parse_instance),
            metrics_compat: read
                .optional("metricsCompat", raw.metrics_compat.take(), parse_metrics_compat)
                .unwrap_or_default(),
        };
        if let Some(address) = http.control.filter(|address| !address.ip().is_loopback())
            && http.token_file.is_none()
            && http.key.is_none()
        {
            read.problems.push(format!(
                "controlAddress: {address} can be reached from elsewhere: set controlTokenFile or controlKey too"
            ));
        }
        if http.public.is_some_and(|address| Some(address) == http.control && address.port() != 0) {
            read.problems.push("controlAddress: is that of publicAddress".to_owned());
        }
        http
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .or_else(|_| {
            text.strip_prefix("localhost:").and_then(|port| port.parse().ok()).map(loopback).ok_or(())
        })
        .map_err(|()| format!("{text:?} is no address: write it like 127.0.0.1:{CONTROL_PORT}"))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn parse_key(text: &str) -> Result<Vec<u8>, String> {
    let key = BASE64.decode(text.as_bytes()).ok().filter(|key| key.len() == KEY_BYTES);
    key.ok_or_else(|| "is no Ed25519 public key: it is 32 bytes in base64".to_owned())
}

pub(super) fn parse_instance(text: &str) -> Result<String, String> {
    match text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        false => Ok(text.to_owned()),
        true => Err(format!("{text:?} holds a blank or a control character")),
    }
}

fn parse_metrics_compat(text: &str) -> Result<MetricsCompat, String> {
    match text {
        "off" => Ok(MetricsCompat::Off),
        "stash" => Ok(MetricsCompat::Stash),
        _ => Err(format!("{text:?} is neither off nor stash")),
    }
}

/// As [`Http::resolve`] would read it.
pub(super) fn written(http: &Http) -> Raw {
    let text = |text: String| Some(Text(text));
    let switch = |value: Option<String>| text(value.unwrap_or_else(|| "off".to_owned()));
    let path = |path: &PathBuf| path.display().to_string();
    Raw {
        public_address: switch(http.public.map(|address| address.to_string())),
        control_address: switch(http.control.map(|address| address.to_string())),
        control_socket: switch(http.socket.as_ref().map(path)),
        control_token_file: http.token_file.as_ref().map(path).and_then(text),
        control_key: http.key.as_ref().map(|key| BASE64.encode(key)).and_then(text),
        instance: http.instance.clone().and_then(text),
        metrics_compat: text(match http.metrics_compat {
            MetricsCompat::Off => "off".to_owned(),
            MetricsCompat::Stash => "stash".to_owned(),
        }),
        ..Raw::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::tests::resolve;

    const MINIMAL: &str = "repository: /r\nsources: /s\nschedule: '@daily'\ncacheDir: /c\n";

    #[test]
    fn everything_listens_on_ports_and_paths_of_its_own_unless_set_or_switched_off() {
        let usual = resolve(MINIMAL).unwrap().http;
        assert_eq!(usual.public.unwrap().to_string(), "0.0.0.0:27411");
        assert_eq!(usual.control.unwrap().to_string(), "127.0.0.1:27412");
        assert_eq!(usual.socket.unwrap(), Path::new("/c/control.sock"));
        let off = resolve(&format!("{MINIMAL}publicAddress: off\ncontrolAddress: off\ncontrolSocket: off\n"));
        let off = off.unwrap().http;
        assert_eq!((off.public, off.control, off.socket), (None, None, None));
        let local = resolve(&format!("{MINIMAL}controlAddress: localhost:80\n")).unwrap().http;
        assert_eq!(local.control.unwrap().to_string(), "127.0.0.1:80");
        let all = format!(
            "{MINIMAL}publicAddress: '[::]:1'\ncontrolAddress: 0.0.0.0:2\ncontrolTokenFile: /t\ncontrolKey: {}\ninstance: pod-1\nmetricsCompat: stash\n",
            BASE64.encode(&[7; 32])
        );
        let all = resolve(&all).unwrap();
        assert_eq!(resolve(&all.to_yaml()).unwrap().http, all.http);
    }

    #[test]
    fn what_anybody_could_reach_or_nobody_is_refused() {
        for (line, words) in [
            ("controlAddress: 0.0.0.0:1", "set controlTokenFile or controlKey"),
            ("controlAddress: 10.0.0.1:1", "set controlTokenFile or controlKey"),
            ("controlAddress: '1'", "is no address"),
            ("publicAddress: host:1", "is no address"),
            ("publicAddress: 127.0.0.1:27412", "is that of publicAddress"),
            ("controlSocket: a/b", "is no absolute path"),
            ("controlKey: aGk=", "is no Ed25519 public key"),
            ("instance: a b", "holds a blank"),
            ("metricsCompat: velero", "is neither off nor stash"),
        ] {
            let problems = resolve(&format!("{MINIMAL}{line}\n")).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains(words), "{problems:?}");
        }
    }
}
