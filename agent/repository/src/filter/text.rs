//! Text files that people write for us: lists of patterns and of paths.
//!
//! Read as restic reads them: a byte order mark is taken off, UTF-16 with one becomes UTF-8, everything else
//! stays the bytes it is. In pattern files variables are replaced, through a closure: this crate never looks
//! into the environment.

use std::borrow::Cow;

use super::path::decode_character;

/// What a variable is set to; `None` where it is not.
pub type Lookup<'a> = dyn Fn(&[u8]) -> Option<Vec<u8>> + 'a;

/// Takes a byte order mark off and turns UTF-16 into UTF-8. restic does this to files, not to standard input.
pub fn decode(contents: &[u8]) -> Cow<'_, [u8]> {
    match contents {
        [0xef, 0xbb, 0xbf, text @ ..] => Cow::Borrowed(text),
        [0xfe, 0xff, text @ ..] => Cow::Owned(decode_utf16(text, u16::from_be_bytes)),
        [0xff, 0xfe, text @ ..] => Cow::Owned(decode_utf16(text, u16::from_le_bytes)),
        text => Cow::Borrowed(text),
    }
}

fn decode_utf16(text: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u8> {
    let (pairs, odd_byte) = text.as_chunks();
    let mut decoded: String = char::decode_utf16(pairs.iter().map(|&pair| unit(pair)))
        .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    if !odd_byte.is_empty() {
        decoded.push(char::REPLACEMENT_CHARACTER);
    }
    decoded.into_bytes()
}

/// The patterns of an exclude or include file: one a line, trimmed, without blank lines and `#` comments,
/// `$NAME` and `${NAME}` replaced by what `lookup` says (nothing where it says nothing), `$$` by a dollar.
pub fn patterns(contents: &[u8], lookup: &Lookup<'_>) -> Vec<Vec<u8>> {
    significant_lines(&decode(contents)).map(|line| expand(line, lookup)).collect()
}

/// Lines that are not empty, without what ends them: a line feed, a carriage return before it.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
}

/// Lines trimmed, without the blank ones and those that begin with `#`.
pub(super) fn significant_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines(text).map(trim).filter(|line| !line.is_empty() && line[0] != b'#')
}

/// Takes white space, as Unicode has it, off both ends.
fn trim(mut line: &[u8]) -> &[u8] {
    while !line.is_empty() {
        let (character, length) = decode_character(line);
        if !character.is_whitespace() {
            break;
        }
        line = &line[length..];
    }
    // White space takes at most three bytes; a longer character behind it ends the search at once.
    while let Some(length) = (1..=line.len().min(3)).find(|&length| {
        let (character, decoded) = decode_character(&line[line.len() - length..]);
        decoded == length && character.is_whitespace()
    }) {
        line = &line[..line.len() - length];
    }
    line
}

/// Replaces variables by the rules of Go's `os.Expand`: a dollar without a name stays, `${}` and `${` vanish.
fn expand(line: &[u8], lookup: &Lookup<'_>) -> Vec<u8> {
    let mut expanded = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(dollar) = rest.iter().position(|&byte| byte == b'$') {
        expanded.extend_from_slice(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        let (name, length) = variable(rest);
        match name {
            b"" if length == 0 => expanded.push(b'$'),
            b"" => {}
            b"$" => expanded.push(b'$'),
            _ => expanded.extend(lookup(name).unwrap_or_default()),
        }
        rest = &rest[length..];
    }
    expanded.extend_from_slice(rest);
    expanded
}

/// The variable's name at the beginning of what follows a dollar, and how many bytes it takes there.
fn variable(text: &[u8]) -> (&[u8], usize) {
    let is_special = |byte: u8| b"*#$@!?-0123456789".contains(&byte);
    match text {
        [b'{', special, b'}', ..] if is_special(*special) => (&text[1..2], 3),
        [b'{', inner @ ..] => match inner.iter().position(|&byte| byte == b'}') {
            Some(length) => (&inner[..length], length + 2),
            None => (b"", 1),
        },
        [special, ..] if is_special(*special) => (&text[..1], 1),
        _ => {
            let length =
                text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
            (&text[..length], length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(contents: &[u8], expected: &[&str]) {
        let lookup = |name: &[u8]| match name {
            b"HOME" => Some(b"/home/u".to_vec()),
            b"a b" => Some(b"braces".to_vec()),
            _ => None,
        };
        let read: Vec<_> =
            patterns(contents, &lookup).into_iter().map(|p| String::from_utf8(p).expect("UTF-8")).collect();
        assert_eq!(read, expected, "{}", contents.escape_ascii());
    }

    #[test]
    fn comments_blank_lines_and_white_space_are_no_patterns() {
        check(b"", &[]);
        check(b"\n\n", &[]);
        check(b"a\r\n  # no\n#no\n \t b c \x0b\nlast", &["a", "b c", "last"]);
        check("\u{a0}x\u{2003}\u{85}\n".as_bytes(), &["x"]);
        check("é\n🦀\n".as_bytes(), &["é", "🦀"]);
    }

    #[test]
    fn variables_are_replaced_as_by_go() {
        check(b"$HOME/x ${HOME}y $HOMEx", &["/home/u/x /home/uy "]);
        check(b"$$HOME a$ $% ${}x $*y ${a b} $", &["$HOME a$ $% x y braces $"]);
        check(b"${$}a $1b ${?}\n${ a\n${ }", &["$a b ", " a", ""]);
    }

    #[test]
    fn byte_order_marks_are_taken_off_and_utf16_is_decoded() {
        check(b"\xef\xbb\xbfa\n", &["a"]);
        check(b"\xff\xfea\0\n\0\xe9\0", &["a", "é"]);
        check(b"\xfe\xff\0a\xd8\x3e\xdd\x80", &["a\u{1f980}"]);
        check(b"\xfe\xff\xd8\x3e\0a\0", &["\u{fffd}a\u{fffd}"]);
    }

    #[test]
    fn trimming_leaves_broken_bytes_alone() {
        assert_eq!(trim(b" \xa0x\x85 "), b"\xa0x\x85");
    }
}
