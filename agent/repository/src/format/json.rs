//! JSON as Go's `encoding/json` writes it: no spaces, and `<`, `>`, `&`, U+2028 and U+2029 escaped.
//!
//! Everything else is the same in `serde_json` and in Go (short forms for `\b`, `\f`, `\n`, `\r`, `\t`, lower-case
//! `\u00xx` for other controls, 0x7f raw), so a formatter is all there is. Used for every file that has a serde
//! type; it must never be used for trees, whose names are quoted a second time.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// The bytes Go's `json.Marshal` would return.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    value
        .serialize(&mut Serializer::with_formatter(&mut out, GoFormatter))
        .expect("types of the format have string keys and a Vec takes every write");
    out
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let bytes = fragment.as_bytes();
        let mut written = 0;
        let mut position = 0;
        while position < bytes.len() {
            let (escape, length): (&[u8], usize) = match bytes[position] {
                b'<' => (b"\\u003c", 1),
                b'>' => (b"\\u003e", 1),
                b'&' => (b"\\u0026", 1),
                // U+2028 and U+2029 end a line in JavaScript.
                0xe2 if bytes[position..].starts_with(&[0xe2, 0x80, 0xa8]) => (b"\\u2028", 3),
                0xe2 if bytes[position..].starts_with(&[0xe2, 0x80, 0xa9]) => (b"\\u2029", 3),
                _ => {
                    position += 1;
                    continue;
                }
            };
            CompactFormatter.write_string_fragment(writer, &fragment[written..position])?;
            writer.write_all(escape)?;
            position += length;
            written = position;
        }
        CompactFormatter.write_string_fragment(writer, &fragment[written..])
    }
}

#[cfg(test)]
mod tests {
    use super::to_vec;

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        let cases = [
            ("", r#""""#),
            ("plain ä€😀", r#""plain ä€😀""#),
            ("<a>&b", r#""\u003ca\u003e\u0026b""#),
            ("&", r#""\u0026""#),
            ("x\u{2028}y\u{2029}\u{2027}", "\"x\\u2028y\\u2029\u{2027}\""),
            ("\"\\/", r#""\"\\/""#),
            ("\u{8}\u{c}\n\r\t", r#""\b\f\n\r\t""#),
            ("\0\u{1}\u{1f}\u{7f}", "\"\\u0000\\u0001\\u001f\u{7f}\""),
            ("\u{fffd}", "\"\u{fffd}\""),
        ];
        for (text, expected) in cases {
            assert_eq!(String::from_utf8(to_vec(text)).unwrap(), expected);
            assert_eq!(serde_json::from_slice::<String>(&to_vec(text)).unwrap(), text);
        }
    }
}
