//! Strings as Go writes them: the escapes of `encoding/json`, and `strconv.Quote` and `Unquote`.
//!
//! restic quotes file names before they go into JSON, because JSON cannot hold bytes that are not UTF-8. All of this
//! works on raw bytes and must give what Go gives to the byte: a tree's ID is the hash of its text.

use super::Invalid;

mod printable;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Whether `strconv.Quote` leaves a character as it is.
pub fn is_print(character: char) -> bool {
    let rune = u32::from(character);
    if rune < 0x7f {
        return rune >= 0x20;
    }
    let position = printable::PRINTABLE.partition_point(|&(first, _)| first <= rune);
    position > 0 && rune <= printable::PRINTABLE[position - 1].1
}

/// Bytes that stand for themselves in JSON, and in a quoted name as well: printing ASCII but `"`, `\`, `<`, `>`, `&`.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        plain[byte] = !matches!(byte as u8, b'"' | b'\\' | b'<' | b'>' | b'&');
        byte += 1;
    }
    plain
};

pub(super) fn is_plain(byte: u8) -> bool {
    PLAIN[usize::from(byte)]
}

/// Appends a JSON string with its quotes; bytes that are not UTF-8 become `\ufffd`.
pub fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    if text.iter().all(|&byte| is_plain(byte)) {
        out.extend_from_slice(text);
    } else {
        write_escaped(out, text);
    }
    out.push(b'"');
}

/// Appends a file name as restic has it: quoted, without the outer quotes, and that as a JSON string.
pub fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    if name.iter().all(|&byte| is_plain(byte)) {
        out.push(b'"');
        out.extend_from_slice(name);
        out.push(b'"');
    } else {
        let mut quoted = Vec::with_capacity(2 * name.len());
        write_quoted(&mut quoted, name);
        write_string(out, &quoted);
    }
}

fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for part in text.utf8_chunks() {
        for character in part.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\u{8}' => out.extend_from_slice(b"\\b"),
                '\u{c}' => out.extend_from_slice(b"\\f"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    out.extend_from_slice(b"\\u");
                    write_hex(out, u32::from(character), 4);
                }
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for _ in part.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Appends what `strconv.Quote` gives, without the quotes around it.
pub fn write_quoted(out: &mut Vec<u8>, text: &[u8]) {
    for part in text.utf8_chunks() {
        for character in part.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\u{7}' => out.extend_from_slice(b"\\a"),
                '\u{8}' => out.extend_from_slice(b"\\b"),
                '\u{c}' => out.extend_from_slice(b"\\f"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\u{b}' => out.extend_from_slice(b"\\v"),
                '\0'..' ' | '\u{7f}' => write_byte_escape(out, character as u8),
                _ if is_print(character) => {
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                '\0'..='\u{ffff}' => {
                    out.extend_from_slice(b"\\u");
                    write_hex(out, u32::from(character), 4);
                }
                _ => {
                    out.extend_from_slice(b"\\U");
                    write_hex(out, u32::from(character), 8);
                }
            }
        }
        for &byte in part.invalid() {
            write_byte_escape(out, byte);
        }
    }
}

fn write_byte_escape(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(b"\\x");
    write_hex(out, u32::from(byte), 2);
}

fn write_hex(out: &mut Vec<u8>, number: u32, digits: u32) {
    out.extend((0..digits).rev().map(|place| HEX[(number >> (4 * place) & 0xf) as usize]));
}

/// The bytes that a text without its outer quotes stands for, as `strconv.Unquote` reads it: a bare quote or line
/// feed is refused, bytes that are not UTF-8 become U+FFFD.
pub fn unquote(text: &[u8]) -> Result<Vec<u8>, Invalid> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' | b'\n' => return Err(no_quoted(text)),
            b'\\' => read_escape(&mut out, after).ok_or_else(|| no_quoted(text))?,
            _ => {
                let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\n' | b'\\'));
                let (plain, after) = rest.split_at(end.unwrap_or(rest.len()));
                push_valid(&mut out, plain);
                after
            }
        };
    }
    Ok(out)
}

fn no_quoted(text: &[u8]) -> Invalid {
    Invalid::malformed(format_args!("\"{}\" is not a quoted name", text.escape_ascii()))
}

fn push_valid(out: &mut Vec<u8>, text: &[u8]) {
    for part in text.utf8_chunks() {
        out.extend_from_slice(part.valid().as_bytes());
        for _ in part.invalid() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Reads what stands behind a backslash and returns what follows that.
fn read_escape<'a>(out: &mut Vec<u8>, text: &'a [u8]) -> Option<&'a [u8]> {
    let (&kind, rest) = text.split_first()?;
    let byte = match kind {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' | b'"' => kind,
        b'x' => {
            let (number, rest) = read_number(rest, 2, 16)?;
            out.push(u8::try_from(number).ok()?);
            return Some(rest);
        }
        b'0'..=b'7' => {
            let (number, rest) = read_number(text, 3, 8)?;
            out.push(u8::try_from(number).ok()?);
            return Some(rest);
        }
        b'u' | b'U' => {
            let (number, rest) = read_number(rest, if kind == b'u' { 4 } else { 8 }, 16)?;
            out.extend_from_slice(char::from_u32(number)?.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => return None,
    };
    out.push(byte);
    Some(rest)
}

fn read_number(text: &[u8], digits: usize, base: u32) -> Option<(u32, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    let number = number.iter().try_fold(0u32, |number, &digit| {
        // Eight hex digits fill 32 bits exactly, so nothing is lost.
        Some(number.wrapping_mul(base) | char::from(digit).to_digit(base)?)
    })?;
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::id::Id;

    fn quoted(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_quoted(&mut out, text);
        out
    }

    fn hash_over_all_characters(write: impl Fn(&mut Vec<u8>, &[u8])) -> String {
        let mut lines = Vec::new();
        for character in '\0'..=char::MAX {
            write(&mut lines, character.encode_utf8(&mut [0; 4]).as_bytes());
            lines.push(b'\n');
        }
        Id::of(&lines).to_string()
    }

    #[test]
    fn every_character_is_written_as_go_writes_it() {
        let mut hashes = include_str!("../../tests/golden/go/hashes.txt").lines();
        let quoted = hash_over_all_characters(|out, text| {
            out.push(b'"');
            write_quoted(out, text);
            out.push(b'"');
        });
        assert_eq!(Some(quoted.as_str()), hashes.next(), "strconv.Quote");
        assert_eq!(Some(hash_over_all_characters(write_string).as_str()), hashes.next(), "json.Marshal");
    }

    #[test]
    fn unquote_reads_and_refuses_what_go_reads_and_refuses() {
        let decode = |hex: &str| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        for line in include_str!("../../tests/golden/go/unquote.txt").lines() {
            let (text, expected) = line.split_once(' ').unwrap();
            let expected = (expected != "error").then(|| decode(expected));
            let text = decode(text);
            assert_eq!(unquote(&text).ok(), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_written_one_by_one() {
        assert_eq!(quoted(b"a\xed\xa0\x80\xff\xef\xbf\xbd"), b"a\\xed\\xa0\\x80\\xff\xef\xbf\xbd");
        let mut out = Vec::new();
        write_string(&mut out, b"\xed\xa0\x80<\xef\xbf\xbd\x7f");
        assert_eq!(out, b"\"\\ufffd\\ufffd\\ufffd\\u003c\xef\xbf\xbd\x7f\"");
        out.clear();
        write_name(&mut out, b"\"\xff&\n");
        assert_eq!(out, br#""\\\"\\xff\u0026\\n""#);
    }

    #[test]
    fn unquote_turns_quoted_bytes_back() {
        let mut random = fastrand::Rng::with_seed(9);
        for _ in 0..20_000 {
            let text: Vec<u8> = (0..random.usize(..12)).map(|_| random.u8(..)).collect();
            assert_eq!(unquote(&quoted(&text)), Ok(text));
        }
    }
}
