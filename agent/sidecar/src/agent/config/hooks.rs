//! What is done around a run: the `spec.hooks` of a Stash BackupConfiguration, and what we have beside it.
//!
//! Whoever may write a manifest is not whoever may send requests from inside the pod: so a hook speaks to this machine
//! itself, and to another host only where the agent's own setting `hookHosts` names it. What a hook sends may be a
//! credential and is never shown; nothing of it is a template that we would fill in, and what looks like one is refused.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use pillion_backend::secret::Secret;

use super::section::Section;
use super::{Reader, raw};
use crate::duration;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_QUIESCE_TIMEOUT: Duration = Duration::from_secs(60);
const LOCALHOST: &str = "localhost";

/// What is sent is held in memory and in the settings.
const MAX_HEADERS: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    pub pre_backup: Option<Hook>,
    pub post_backup: Option<(Hook, ExecutionPolicy)>,
    /// The longest time for which the workload stays as the first hook left it.
    pub quiesce_timeout: Duration,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { pre_backup: None, post_backup: None, quiesce_timeout: DEFAULT_QUIESCE_TIMEOUT }
    }
}

impl Hooks {
    /// The hook that ends what the first one began, if there are both.
    pub fn closing(&self) -> Option<&Hook> {
        match (&self.pre_backup, &self.post_backup) {
            (Some(_), Some((hook, ExecutionPolicy::Always))) => Some(hook),
            _ => None,
        }
    }
}

/// When the second hook runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExecutionPolicy {
    #[default]
    Always,
    OnSuccess,
    OnFailure,
    OnFinalRetryFailure,
}

impl fmt::Display for ExecutionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "Always",
            Self::OnSuccess => "OnSuccess",
            Self::OnFailure => "OnFailure",
            Self::OnFinalRetryFailure => "OnFinalRetryFailure",
        })
    }
}

impl FromStr for ExecutionPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Always, Self::OnSuccess, Self::OnFailure, Self::OnFinalRetryFailure];
        let found = all.into_iter().find(|policy| policy.to_string() == text);
        found.ok_or_else(|| {
            format!("{text:?} is none of Always, OnSuccess, OnFailure and OnFinalRetryFailure")
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    pub handler: Handler,
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    Http(HttpRequest),
    /// A connection that is made, and closed again.
    Tcp(Place),
    /// In another container: somebody else carries it out.
    Exec {
        container: String,
        command: Vec<String>,
    },
    /// A program in our own file system, by its absolute path; no shell.
    Command(Vec<String>),
}

/// What people are told of it: nothing that may be secret.
impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(HttpRequest { method: Method::Get, place, .. }) => write!(f, "httpGet to {place}"),
            Self::Http(HttpRequest { method: Method::Post { .. }, place, .. }) => {
                write!(f, "httpPost to {place}")
            }
            Self::Tcp(place) => write!(f, "tcpSocket to {place}"),
            Self::Exec { container, .. } => write!(f, "exec in container {container}"),
            Self::Command(words) => write!(f, "command {}", words.first().map_or("", String::as_str)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    pub method: Method,
    pub scheme: Scheme,
    pub place: Place,
    /// With its query; begins with a slash. Of some services it is the credential.
    pub path: Secret,
    /// Names are those of headers; so may be the values.
    pub headers: Vec<(String, Secret)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post { body: Secret },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
        })
    }
}

/// Where a hook speaks to: an IP address or a name, in small letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Place {
    /// The addresses, where they are those of this machine itself. `localhost` is no question for anybody.
    pub fn loopback(&self) -> Option<Vec<IpAddr>> {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback().then(|| vec![address]),
            Err(_) if self.host == LOCALHOST => {
                Some(vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)])
            }
            Err(_) => None,
        }
    }
}

/// A host's name or address, in the one way in which it is compared.
pub(super) fn parse_host(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    match text.len() <= 253 && !text.is_empty() && text.chars().all(is_plain) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!("{text:?} is no host: it is a name or an IP address, without port or path")),
    }
}

/// The hooks of the settings. Every problem is added.
pub(super) fn resolve(read: &mut Reader<'_>, hooks: Option<raw::Hooks>, hosts: &[String]) -> Hooks {
    let Some(raw::Hooks(entries)) = hooks else { return Hooks::default() };
    let mut section = Section::new("hooks", entries);
    let pre_backup = section
        .section(read, "preBackup")
        .and_then(|section| hook(read, section, hosts, |_, _| ()).map(|(hook, ())| hook));
    let post_backup = section.section(read, "postBackup").and_then(|section| {
        hook(read, section, hosts, |read, section| {
            section.optional(read, "executionPolicy", str::parse).unwrap_or_default()
        })
    });
    let quiesce_timeout = section.optional(read, "quiesceTimeout", parse_timeout);
    section.finish(read);
    Hooks { pre_backup, post_backup, quiesce_timeout: quiesce_timeout.unwrap_or(DEFAULT_QUIESCE_TIMEOUT) }
}

const HANDLERS: [&str; 5] = ["httpGet", "httpPost", "tcpSocket", "exec", "command"];

/// `more` reads what this hook has beside a handler. `None` only where a problem was added.
fn hook<T>(
    read: &mut Reader<'_>,
    mut section: Section,
    hosts: &[String],
    more: impl FnOnce(&mut Reader<'_>, &mut Section) -> T,
) -> Option<(Hook, T)> {
    let timeout = section.optional(read, "timeout", parse_timeout).unwrap_or(DEFAULT_TIMEOUT);
    let container = section.optional(read, "containerName", parse_container);
    let more = more(read, &mut section);
    let named: Vec<&str> = HANDLERS.into_iter().filter(|name| section.has(name)).collect();
    let path = section.path().to_owned();
    match named.len() {
        0 => read.problems.push(format!("{path}: holds no handler: there are {}", HANDLERS.join(", "))),
        1 => {}
        _ => read.problems.push(format!("{path}: holds {}: keep one", named.join(" and "))),
    }
    let mut handler = None;
    for name in named {
        handler = match name {
            "httpGet" => section.section(read, name).and_then(|section| get(read, section, hosts)),
            "httpPost" => section.section(read, name).and_then(|section| post(read, section, hosts)),
            "tcpSocket" => section.section(read, name).and_then(|section| tcp(read, section, hosts)),
            "exec" => {
                section.section(read, name).and_then(|inner| exec(read, inner, &path, container.clone()))
            }
            _ => command(read, &mut section, name, absolute_program).map(Handler::Command),
        };
    }
    section.finish(read);
    Some((Hook { handler: handler?, timeout }, more))
}

fn get(read: &mut Reader<'_>, mut section: Section, hosts: &[String]) -> Option<Handler> {
    let request = http(read, &mut section, hosts, Method::Get);
    section.finish(read);
    request.map(Handler::Http)
}

fn post(read: &mut Reader<'_>, mut section: Section, hosts: &[String]) -> Option<Handler> {
    let body = section.optional(read, "body", plain).unwrap_or_default();
    if section.accept("form") {
        section.problem(read, "form", "is not sent: write its text as the body, with its Content-Type");
    }
    let request = http(read, &mut section, hosts, Method::Post { body: Secret::new(body) });
    section.finish(read);
    request.map(Handler::Http)
}

fn http(
    read: &mut Reader<'_>,
    section: &mut Section,
    hosts: &[String],
    method: Method,
) -> Option<HttpRequest> {
    let place = place(read, section, hosts);
    let path = section.optional(read, "path", parse_path).unwrap_or_else(|| "/".to_owned());
    let scheme = section.optional(read, "scheme", parse_scheme).unwrap_or_default();
    let items = section.sections(read, "httpHeaders");
    if items.len() > MAX_HEADERS {
        section.problem(read, "httpHeaders", &format!("holds more than {MAX_HEADERS}"));
    }
    let mut headers = Vec::new();
    for mut item in items {
        let name = item.required(read, "name", parse_header_name);
        let value = item.optional(read, "value", parse_header_value).unwrap_or_default();
        item.finish(read);
        headers.extend(name.map(|name| (name, Secret::new(value))));
    }
    Some(HttpRequest { method, scheme, place: place?, path: Secret::new(path), headers })
}

fn tcp(read: &mut Reader<'_>, mut section: Section, hosts: &[String]) -> Option<Handler> {
    let place = place(read, &mut section, hosts);
    section.finish(read);
    place.map(Handler::Tcp)
}

fn place(read: &mut Reader<'_>, section: &mut Section, hosts: &[String]) -> Option<Place> {
    let has_host = section.has("host");
    let host = section.optional(read, "host", |text| {
        let place = Place { host: parse_host(text)?, port: 0 };
        match place.loopback().is_some() || hosts.contains(&place.host) {
            true => Ok(place.host),
            false => Err(format!(
                "{text:?} is not this machine itself: hooks reach localhost, and other hosts that the setting \
                 hookHosts names"
            )),
        }
    });
    let port = section.required(read, "port", parse_port);
    let host = host.or_else(|| (!has_host).then(|| LOCALHOST.to_owned()));
    Some(Place { host: host?, port: port? })
}

fn exec(
    read: &mut Reader<'_>,
    mut section: Section,
    above: &str,
    container: Option<String>,
) -> Option<Handler> {
    let command = command(read, &mut section, "command", |_| Ok(()));
    section.finish(read);
    if container.is_none() {
        read.problems.push(format!("{above}.containerName: is not set, and exec needs it"));
    }
    Some(Handler::Exec { container: container?, command: command? })
}

fn command(
    read: &mut Reader<'_>,
    section: &mut Section,
    name: &str,
    judge_program: impl FnOnce(&str) -> Result<(), String>,
) -> Option<Vec<String>> {
    if !section.has(name) {
        section.problem(read, name, "is not set");
        return None;
    }
    let words = section.words(read, name)?;
    let judged = match words.first() {
        None => Err("holds no words: the first one is the program".to_owned()),
        Some(program) => judge_program(program),
    };
    let judged = judged.and_then(|()| words.iter().try_for_each(|word| plain(word).map(drop)));
    match judged {
        Ok(()) => Some(words),
        Err(problem) => {
            section.problem(read, name, &problem);
            None
        }
    }
}

fn absolute_program(program: &str) -> Result<(), String> {
    match Path::new(program).is_absolute() {
        true => Ok(()),
        false => Err(format!(
            "{program:?} is no absolute path: a program is run by its path, and there is no shell"
        )),
    }
}

/// Text that is used as it stands. It is not repeated: it may be secret.
fn plain(text: &str) -> Result<String, String> {
    if text.contains("{{") {
        return Err("holds a template (`{{`), and none is filled in: write the text itself".to_owned());
    }
    match text.contains('\0') {
        true => Err("holds a zero byte".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn parse_path(text: &str) -> Result<String, String> {
    let text = plain(text)?;
    if text.chars().any(|c| c.is_control() || c == ' ' || c == '#') {
        return Err("holds a blank, a `#` or a control character: write it percent-encoded".to_owned());
    }
    match text.starts_with('/') {
        true => Ok(text),
        // As Kubernetes takes it.
        false => Ok(format!("/{text}")),
    }
}

fn parse_scheme(text: &str) -> Result<Scheme, String> {
    match text.to_ascii_uppercase().as_str() {
        "HTTP" => Ok(Scheme::Http),
        "HTTPS" => Ok(Scheme::Https),
        _ => Err(format!("{text:?} is neither HTTP nor HTTPS")),
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(format!(
            "{text:?} is no port: it is a number from 1 to 65535, and names of ports are not known here"
        )),
    }
}

fn parse_header_name(text: &str) -> Result<String, String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    match text.len() <= 256 && text.chars().all(is_token) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no name of a header")),
    }
}

fn parse_header_value(text: &str) -> Result<String, String> {
    let text = plain(text)?;
    match text.chars().all(|c| c == '\t' || (' '..='~').contains(&c)) {
        true => Ok(text),
        false => Err("holds what a header cannot: it is ASCII on one line".to_owned()),
    }
}

fn parse_container(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match text.len() <= 63 && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no container's name")),
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        timeout => Ok(timeout),
    }
}
