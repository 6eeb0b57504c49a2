//! Matches JSON that is just as restic writes it: the keys in its order, no white space, no escapes.
//!
//! Nearly all of what a repository holds is like that, and matching what is expected takes a fraction of the time
//! of reading whatever comes. Nothing here decides what is an error: `None` means "read it the thorough way".

use super::go_json::is_plain;
use super::id::Id;

/// What is still to be read.
pub(super) struct Rest<'a>(pub(super) &'a [u8]);

impl<'a> Rest<'a> {
    #[inline(always)]
    pub(super) fn take<const LENGTH: usize>(&mut self, expected: &[u8; LENGTH]) -> bool {
        match self.0.split_first_chunk::<LENGTH>() {
            Some((there, rest)) if there == expected => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    #[inline(always)]
    pub(super) fn after<const LENGTH: usize>(&mut self, expected: &[u8; LENGTH]) -> Option<&mut Self> {
        self.take(expected).then_some(self)
    }

    /// A string behind its first quote.
    #[inline(always)]
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|&byte| !is_plain(byte))?;
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        self.take(b"\"").then_some(text)
    }

    /// The number behind `key`; 0 where the key is not there, as restic leaves out what is zero.
    #[inline(always)]
    pub(super) fn number<const LENGTH: usize>(&mut self, key: &[u8; LENGTH]) -> Option<u64> {
        if !self.take(key) {
            return Some(0);
        }
        let mut number = 0u64;
        let mut length = 0;
        while let Some(digit) =
            self.0.get(length).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10)
        {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
            length += 1;
        }
        // Nineteen digits always fit, and a leading zero is no JSON.
        if length == 0 || length > 19 || (length > 1 && self.0[0] == b'0') {
            return None;
        }
        self.0 = &self.0[length..];
        Some(number)
    }

    /// The number behind a key that must be there.
    #[inline(always)]
    pub(super) fn required_number<const LENGTH: usize>(&mut self, key: &[u8; LENGTH]) -> Option<u64> {
        if self.0.starts_with(key) { self.number(key) } else { None }
    }

    /// An ID behind its first quote.
    pub(super) fn id(&mut self) -> Option<Id> {
        let (digits, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        let id = Id::from_hex(digits)?;
        self.take(b"\"").then_some(id)
    }
}
