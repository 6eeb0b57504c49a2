//! One path component against one glob: `*`, `?`, `[a-z]`, `[^a]`, backslash.
//!
//! The language and every corner of it is that of Go's `filepath.Match`, which restic matches components
//! with: `?` and `[...]` take one character, or one byte where the name is not UTF-8; `*` may stop in the
//! middle of a character. Globs are compiled once; matching neither allocates nor backtracks exponentially.

use super::path::decode_character;

/// A glob that can be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Glob {
    Anything,
    Exactly(Box<[u8]>),
    StartsWith(Box<[u8]>),
    EndsWith(Box<[u8]>),
    Chunks(Box<[Chunk]>),
}

/// The text between two stars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Whether a star stands before it.
    floats: bool,
    tokens: Box<[Token]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(Box<[u8]>),
    Character,
    Class { negated: bool, ranges: Box<[(char, char)]> },
}

/// The glob has a `[` that does not close, an empty or broken range, or a backslash at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Glob {
    pub(super) fn compile(pattern: &[u8]) -> Result<Self, Malformed> {
        let mut chunks = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let (chunk, after) = split_chunk(rest);
            let literal = &chunk[chunk.iter().take_while(|&&byte| byte == b'*').count()..];
            chunks.push(Chunk { floats: literal.len() < chunk.len(), tokens: compile_tokens(literal)? });
            rest = after;
        }
        Ok(Self::from_chunks(chunks))
    }

    /// Picks the cheap forms out: most patterns people write are one of them.
    fn from_chunks(chunks: Vec<Chunk>) -> Self {
        match chunks.as_slice() {
            [] => Self::Exactly(Box::default()),
            [Chunk { floats: true, tokens }] if tokens.is_empty() => Self::Anything,
            [Chunk { floats, tokens }] => match (&**tokens, floats) {
                ([Token::Literal(text)], false) => Self::Exactly(text.clone()),
                ([Token::Literal(text)], true) => Self::EndsWith(text.clone()),
                _ => Self::Chunks(chunks.into()),
            },
            [Chunk { floats: false, tokens: first }, Chunk { tokens: second, .. }] => {
                match (&**first, &**second) {
                    ([Token::Literal(text)], []) => Self::StartsWith(text.clone()),
                    _ => Self::Chunks(chunks.into()),
                }
            }
            _ => Self::Chunks(chunks.into()),
        }
    }

    #[inline]
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Anything => true,
            Self::Exactly(text) => name == &**text,
            Self::StartsWith(text) => name.starts_with(text),
            Self::EndsWith(text) => name.ends_with(text),
            Self::Chunks(chunks) => match_chunks(chunks, name),
        }
    }
}

fn match_chunks(chunks: &[Chunk], mut name: &[u8]) -> bool {
    'chunks: for (position, chunk) in chunks.iter().enumerate() {
        if chunk.floats && chunk.tokens.is_empty() {
            return true;
        }
        let is_last = position + 1 == chunks.len();
        let starts = if chunk.floats { 0..=name.len() } else { 0..=0 };
        // The leftmost place is as good as any other, except for the last chunk, which has to reach the end.
        for start in starts {
            if let Some(rest) = chunk.strip_from(&name[start..])
                && (rest.is_empty() || !is_last)
            {
                name = rest;
                continue 'chunks;
            }
        }
        return false;
    }
    name.is_empty()
}

impl Chunk {
    /// What is left of `name` after this chunk at its beginning.
    fn strip_from<'a>(&self, mut name: &'a [u8]) -> Option<&'a [u8]> {
        for token in &self.tokens {
            if let Token::Literal(text) = token {
                name = name.strip_prefix(&**text)?;
                continue;
            }
            if name.is_empty() {
                return None;
            }
            let (character, length) = decode_character(name);
            if let Token::Class { negated, ranges } = token
                && ranges.iter().any(|&(low, high)| low <= character && character <= high) == *negated
            {
                return None;
            }
            name = &name[length..];
        }
        Some(name)
    }
}

/// Splits off the leading stars and everything up to the next star outside of brackets.
fn split_chunk(pattern: &[u8]) -> (&[u8], &[u8]) {
    let mut at = pattern.iter().take_while(|&&byte| byte == b'*').count();
    let mut in_brackets = false;
    while at < pattern.len() {
        match pattern[at] {
            b'\\' => at += 1,
            b'[' => in_brackets = true,
            b']' => in_brackets = false,
            b'*' if !in_brackets => break,
            _ => {}
        }
        at += 1;
    }
    pattern.split_at(at.min(pattern.len()))
}

fn compile_tokens(mut chunk: &[u8]) -> Result<Box<[Token]>, Malformed> {
    let mut tokens = Vec::new();
    let mut literal = Vec::new();
    while let Some((&first, rest)) = chunk.split_first() {
        chunk = rest;
        let token = match first {
            b'?' => Token::Character,
            b'[' => compile_class(&mut chunk)?,
            b'\\' => {
                let (&escaped, rest) = chunk.split_first().ok_or(Malformed)?;
                literal.push(escaped);
                chunk = rest;
                continue;
            }
            byte => {
                literal.push(byte);
                continue;
            }
        };
        if !literal.is_empty() {
            tokens.push(Token::Literal(std::mem::take(&mut literal).into()));
        }
        tokens.push(token);
    }
    if !literal.is_empty() {
        tokens.push(Token::Literal(literal.into()));
    }
    Ok(tokens.into())
}

/// Reads a class behind its opening bracket.
fn compile_class(chunk: &mut &[u8]) -> Result<Token, Malformed> {
    let negated = chunk.first() == Some(&b'^');
    if negated {
        *chunk = &chunk[1..];
    }
    let mut ranges = Vec::new();
    while ranges.is_empty() || chunk[0] != b']' {
        let low = class_character(chunk)?;
        let mut high = low;
        if chunk[0] == b'-' {
            *chunk = &chunk[1..];
            high = class_character(chunk)?;
        }
        ranges.push((low, high));
    }
    *chunk = &chunk[1..];
    Ok(Token::Class { negated, ranges: ranges.into() })
}

/// Takes one character of a class. At least the closing bracket is left after it.
fn class_character(chunk: &mut &[u8]) -> Result<char, Malformed> {
    if matches!(chunk.first(), None | Some(b'-' | b']')) {
        return Err(Malformed);
    }
    if chunk[0] == b'\\' {
        *chunk = &chunk[1..];
        if chunk.is_empty() {
            return Err(Malformed);
        }
    }
    let (character, length) = decode_character(chunk);
    if character == char::REPLACEMENT_CHARACTER && length == 1 {
        return Err(Malformed);
    }
    *chunk = &chunk[length..];
    if chunk.is_empty() { Err(Malformed) } else { Ok(character) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `None`: malformed.
    fn check(pattern: &[u8], name: &[u8], expected: Option<bool>) {
        let matched = Glob::compile(pattern).ok().map(|glob| glob.matches(name));
        assert_eq!(matched, expected, "{} {}", pattern.escape_ascii(), name.escape_ascii());
    }

    #[test]
    fn globs_match_as_go_matches_them() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("*c", "c", true),
            ("*c", "", false),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("a*b*c*d*e*", "axbxcxdxe", true),
            ("a*b*c*d*e*", "axbxcxdxexxx", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("*aa", "aaa", true),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("a[^a]b", "a☺b", true),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("[*]x", "*x", true),
            ("a]", "a]", true),
            ("[!a]", "!", true),
            ("", "", true),
            ("", "a", false),
            ("**", "a", true),
            ("a**b", "axb", true),
        ] {
            check(pattern.as_bytes(), name.as_bytes(), Some(expected));
        }
    }

    #[test]
    fn bytes_outside_of_utf8_count_as_one_character_each() {
        check(b"a?b", b"a\xffb", Some(true));
        check(b"a??b", b"a\xf0\x9fb", Some(true));
        check(b"[^a]", b"\xff", Some(true));
        check("[\u{fffd}]".as_bytes(), b"\xff", Some(true));
        check(b"\xff*", b"\xffx", Some(true));
        check(b"*?", "é".as_bytes(), Some(true));
        check(b"*??", "é".as_bytes(), Some(false));
    }

    #[test]
    fn malformed_globs_are_found_wherever_the_fault_is() {
        for pattern in [
            "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a*[", "[a]*[", "\\", "[\\",
            "[a\\",
        ] {
            check(pattern.as_bytes(), b"a", None);
        }
        check(b"[\xff]", b"a", None);
    }
}
