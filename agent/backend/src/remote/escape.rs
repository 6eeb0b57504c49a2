//! Names as they stand in a URL or a header: all but the plainest characters as `%XX`, in the one form that every
//! store reads alike and that signatures are made of.

/// A name in a path: each part escaped, the slashes as they are.
pub(crate) fn escape(name: &str) -> String {
    name.split('/').map(escape_component).collect::<Vec<_>>().join("/")
}

pub(crate) fn escape_component(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
