//! File names as text: what could steer a terminal is escaped, everything else is shown as it is.

use std::borrow::Cow;
use std::fmt::Write;

/// A name for people. One that holds anything unprintable, or is not UTF-8, is quoted as Go's `%q` does it.
pub fn quote(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(text) if text.chars().all(|c| c != char::REPLACEMENT_CHARACTER && is_printable(c)) => {
            Cow::Borrowed(text)
        }
        _ => Cow::Owned(quoted(name)),
    }
}

/// A sentence that may hold foreign names: only what is unprintable is escaped, no quotes are added.
pub fn escape_control(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match is_printable(c) {
            true => escaped.push(c),
            false => push_escape(&mut escaped, c),
        }
    }
    escaped
}

fn quoted(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len() + 8);
    text.push('"');
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                c if is_printable(c) => text.push(c),
                c => push_escape(&mut text, c),
            }
        }
        for byte in chunk.invalid() {
            push_formatted(&mut text, format_args!("\\x{byte:02x}"));
        }
    }
    text.push('"');
    text
}

fn push_escape(text: &mut String, c: char) {
    let short = match c {
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\x0c' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\x0b' => "\\v",
        _ => "",
    };
    match u32::from(c) {
        _ if !short.is_empty() => text.push_str(short),
        code @ ..0x80 => push_formatted(text, format_args!("\\x{code:02x}")),
        code @ ..0x1_0000 => push_formatted(text, format_args!("\\u{code:04x}")),
        code => push_formatted(text, format_args!("\\U{code:08x}")),
    }
}

fn push_formatted(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes everything");
}

fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        c if c.is_ascii() => false,
        // The library's own table: what it would escape inside a string (a combining mark after a letter is not).
        c => ['a', c].iter().collect::<String>().escape_debug().count() == 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_steer_a_terminal_are_quoted_as_go_does() {
        for (name, shown) in [
            (&b"/s/a"[..], "/s/a"),
            ("/s/gr\u{fc}n \u{65e5}\u{672c}".as_bytes(), "/s/gr\u{fc}n \u{65e5}\u{672c}"),
            ("e\u{301}".as_bytes(), "e\u{301}"),
            (b"a\"b", "a\"b"),
            (b"/s/n\nl", r#""/s/n\nl""#),
            (b"\x1b[2J", r#""\x1b[2J""#),
            (b"a\xff\"\\", r#""a\xff\"\\""#),
            ("\u{202e}gpj".as_bytes(), r#""\u202egpj""#),
            ("\u{a0}".as_bytes(), r#""\u00a0""#),
            ("\u{e0001}".as_bytes(), r#""\U000e0001""#),
        ] {
            assert_eq!(quote(name), shown);
        }
    }
}
