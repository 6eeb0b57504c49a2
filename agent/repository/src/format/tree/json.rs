//! A JSON reader for trees: one pass over a slice, strings borrowed where the text holds them as they are.
//!
//! It relies on the caller to ask for what the format has at each place, and leaves values nobody asked for to
//! `serde_json`. It must never trust a length or a depth: it does not recurse, and what it allocates is no longer than
//! what it has read.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::format::Invalid;
use crate::format::go_json::is_plain;

#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    json: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(json: &'a [u8]) -> Self {
        Self { json, position: 0 }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.json[self.position..]
    }

    /// Passes over bytes of `rest` that were read elsewhere.
    pub(super) fn advance(&mut self, length: usize) {
        self.position += length;
    }

    pub(super) fn unexpected(&self, wanted: &str) -> Invalid {
        let at = self.position;
        match self.json.get(at) {
            Some(byte) => {
                let byte = byte.escape_ascii();
                Invalid::malformed(format_args!("byte {at} of the tree is \"{byte}\", not {wanted}"))
            }
            None => Invalid::malformed(format_args!("the tree ends after {at} bytes in place of {wanted}")),
        }
    }

    /// The next byte that is no white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.json.get(self.position) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.position += 1;
        }
        None
    }

    /// Takes the next byte if it is this one.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.position += usize::from(there);
        there
    }

    pub(super) fn expect(&mut self, byte: u8, wanted: &str) -> Result<(), Invalid> {
        if self.take(byte) { Ok(()) } else { Err(self.unexpected(wanted)) }
    }

    pub(super) fn take_null(&mut self) -> bool {
        let there = self.peek() == Some(b'n') && self.rest().starts_with(b"null");
        self.position += 4 * usize::from(there);
        there
    }

    /// Hands each key of an object to `member`, which reads the value.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        self.expect(b'{', "an object")?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            member(self, &key)?;
            if !self.take(b',') {
                return self.expect(b'}', "a comma or the end of an object");
            }
        }
    }

    /// Calls `element` for each element of an array.
    pub(super) fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        self.expect(b'[', "an array")?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.take(b',') {
                return self.expect(b']', "a comma or the end of an array");
            }
        }
    }

    pub(super) fn key(&mut self) -> Result<Cow<'a, str>, Invalid> {
        let key = self.string()?;
        self.expect(b':', "a colon")?;
        Ok(key)
    }

    /// As Go reads them: half a surrogate pair and bytes that are not UTF-8 become U+FFFD.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Invalid> {
        self.expect(b'"', "a string")?;
        let rest = self.rest();
        let plain = rest.iter().position(|&byte| !is_plain(byte)).unwrap_or(rest.len());
        if rest.get(plain) == Some(&b'"') {
            self.position += plain + 1;
            return Ok(String::from_utf8_lossy(&rest[..plain]));
        }
        self.unusual_string(plain)
    }

    /// A string that holds more than plain ASCII, of which the first `plain` bytes are just that.
    #[cold]
    fn unusual_string(&mut self, plain: usize) -> Result<Cow<'a, str>, Invalid> {
        let start = self.position;
        self.position += plain;
        let mut text = Cow::Borrowed("");
        let mut copied = start;
        loop {
            match self.json.get(self.position) {
                Some(b'"') => break,
                Some(b'\\') => {
                    text += String::from_utf8_lossy(&self.json[copied..self.position]);
                    self.position += 1;
                    text.to_mut().push(self.escape()?);
                    copied = self.position;
                }
                Some(0x20..) => self.position += 1,
                _ => return Err(self.unexpected("text or the end of a string")),
            }
        }
        text += String::from_utf8_lossy(&self.json[copied..self.position]);
        self.position += 1;
        Ok(text)
    }

    fn escape(&mut self) -> Result<char, Invalid> {
        let character = match self.json.get(self.position) {
            Some(&byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.code_unit(1)?;
                self.position += 5;
                return Ok(self.join_surrogates(high));
            }
            _ => return Err(self.unexpected("an escape")),
        };
        self.position += 1;
        Ok(character)
    }

    fn join_surrogates(&mut self, high: u16) -> char {
        if self.rest().starts_with(b"\\u")
            && let Ok(low) = self.code_unit(2)
            && let Some(Ok(character)) = char::decode_utf16([high, low]).next()
            && character.len_utf16() == 2
        {
            self.position += 6;
            return character;
        }
        char::from_u32(u32::from(high)).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// Four hex digits, `ahead` bytes from here.
    fn code_unit(&self, ahead: usize) -> Result<u16, Invalid> {
        let digits = self.json.get(self.position + ahead..self.position + ahead + 4);
        digits
            .and_then(|digits| {
                digits
                    .iter()
                    .try_fold(0, |number, &digit| Some(number << 4 | char::from(digit).to_digit(16)?))
            })
            .and_then(|number| u16::try_from(number).ok())
            .ok_or_else(|| self.unexpected("an escape"))
    }

    /// A whole number without sign, fraction or exponent.
    pub(super) fn number(&mut self) -> Result<u64, Invalid> {
        let Some(b'0'..=b'9') = self.peek() else {
            return Err(self.unexpected("a number"));
        };
        let mut digits = self.rest().iter().take_while(|byte| byte.is_ascii_digit());
        let length = digits.clone().count();
        let number = digits
            .try_fold(0u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
            .filter(|_| length == 1 || self.rest()[0] != b'0')
            .ok_or_else(|| self.unexpected("a number of 64 bits"))?;
        self.position += length;
        Ok(number)
    }

    pub(super) fn number_of_32_bits(&mut self) -> Result<u32, Invalid> {
        let number = self.number()?;
        u32::try_from(number)
            .map_err(|_| Invalid::malformed(format_args!("the number {number} has more than 32 bits")))
    }

    /// Passes over any value and returns its text.
    pub(super) fn skip_value(&mut self) -> Result<&'a [u8], Invalid> {
        self.peek();
        let rest = self.rest();
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(IgnoredAny)) => {
                let length = values.byte_offset();
                self.position += length;
                Ok(&rest[..length])
            }
            _ => Err(self.unexpected("a value")),
        }
    }
}
