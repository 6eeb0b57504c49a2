//! Names in URLs, escaped as the vendors' signatures have them: each byte but letters, digits and `-._~`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A name in a path, each of its parts escaped.
pub(crate) fn escape(name: &str) -> String {
    name.split('/').map(escape_component).collect::<Vec<_>>().join("/")
}

/// A part of a path, or a value in a query, where form encoding would turn a space into a plus.
pub(crate) fn escape_component(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}
