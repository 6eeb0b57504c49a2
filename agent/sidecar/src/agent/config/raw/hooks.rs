//! The setting `hooks` as it is written: the text of a manifest's `spec.hooks`, and a little of our own.
//!
//! What it means is decided in [`super::super::hooks`]; here is only its form, both ways.

use std::collections::BTreeMap;

use serde::Serialize;

use super::yaml::Written;
use crate::agent::config::hooks::{self, Handler, Hook, Method};
use crate::duration;

/// What stands for a value that is not shown.
const HIDDEN: &str = "(hidden)";

/// The entries by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Hooks(pub BTreeMap<String, Written>);

type Entries = BTreeMap<String, Written>;

impl Hooks {
    /// The manifest that means these hooks; `None` where there are none.
    pub(super) fn of(hooks: &hooks::Hooks) -> Option<Self> {
        let mut entries = Entries::new();
        if let Some(hook) = &hooks.pre_backup {
            entries.insert("preBackup".to_owned(), Written::Mapping(hook_entries(hook)));
        }
        if let Some((hook, policy)) = &hooks.post_backup {
            let mut post = hook_entries(hook);
            post.insert("executionPolicy".to_owned(), text(policy));
            entries.insert("postBackup".to_owned(), Written::Mapping(post));
        }
        if entries.is_empty() {
            return None;
        }
        entries.insert("quiesceTimeout".to_owned(), text(&duration::format(hooks.quiesce_timeout)));
        Some(Self(entries))
    }

    /// The same, for anybody to see: neither what is sent nor what a path's query holds.
    #[must_use]
    pub(in crate::agent::config) fn without_secrets(mut self) -> Self {
        self.0.values_mut().for_each(|written| hide("", written));
        self
    }
}

fn hide(name: &str, written: &mut Written) {
    match (name, written) {
        ("body" | "value", Written::Text(text)) => HIDDEN.clone_into(text),
        ("path", Written::Text(text)) => {
            if let Some((path, _)) = text.split_once('?') {
                *text = format!("{path}?{HIDDEN}");
            }
        }
        (_, Written::Mapping(entries)) => entries.iter_mut().for_each(|(name, value)| hide(name, value)),
        (_, Written::Mappings(items)) => {
            items.iter_mut().flatten().for_each(|(name, value)| hide(name, value));
        }
        _ => {}
    }
}

fn text(value: &dyn std::fmt::Display) -> Written {
    Written::Text(value.to_string())
}

fn words(words: &[String]) -> Written {
    Written::List(words.to_vec())
}

fn entries(of: impl IntoIterator<Item = (&'static str, Written)>) -> Entries {
    of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn hook_entries(hook: &Hook) -> Entries {
    let (name, handler) = match &hook.handler {
        Handler::Http(request) => {
            let place = &request.place;
            let mut fields = entries([
                ("scheme", text(&request.scheme)),
                ("host", text(&place.host)),
                ("port", text(&place.port)),
                ("path", text(&lossy(request.path.expose()))),
            ]);
            let header = |(name, value): &(String, pillion_backend::secret::Secret)| {
                entries([("name", text(name)), ("value", text(&lossy(value.expose())))])
            };
            if !request.headers.is_empty() {
                let headers = request.headers.iter().map(header).collect();
                fields.insert("httpHeaders".to_owned(), Written::Mappings(headers));
            }
            match &request.method {
                Method::Get => ("httpGet", Written::Mapping(fields)),
                Method::Post { body } => {
                    fields.insert("body".to_owned(), text(&lossy(body.expose())));
                    ("httpPost", Written::Mapping(fields))
                }
            }
        }
        Handler::Tcp(place) => {
            let fields = [("host", text(&place.host)), ("port", text(&place.port))];
            ("tcpSocket", Written::Mapping(entries(fields)))
        }
        Handler::Exec { command, .. } => ("exec", Written::Mapping(entries([("command", words(command))]))),
        Handler::Command(command) => ("command", words(command)),
    };
    let mut hook_entries = entries([(name, handler), ("timeout", text(&duration::format(hook.timeout)))]);
    if let Handler::Exec { container, .. } = &hook.handler {
        hook_entries.insert("containerName".to_owned(), text(container));
    }
    hook_entries
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
