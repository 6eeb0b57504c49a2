//! The ID of a blob or file: the SHA-256 of its bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Invalid;

/// 32 bytes of SHA-256. For a blob of the plaintext, for a file of the stored bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Id([u8; 32]);

impl Id {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn of(content: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
        Self::from_digest(&digest)
    }

    pub fn from_digest(digest: &aws_lc_rs::digest::Digest) -> Self {
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// `None` if one is no lower-case hex digit.
    pub fn from_hex(digits: &[u8; 64]) -> Option<Self> {
        // Arithmetic without branches over all digits at once: the compiler makes vectors of it.
        let values = digits.map(|digit| {
            let (decimal, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
            if decimal < 10 {
                decimal
            } else if letter < 6 {
                letter + 10
            } else {
                0xff
            }
        });
        let valid = values.iter().fold(0, |all, value| all | value) < 16;
        valid.then(|| {
            Self(std::array::from_fn(|position| values[2 * position] << 4 | values[2 * position + 1]))
        })
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight hex digits, as IDs are shown to people.
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0[..4])
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0u8; 64];
        data_encoding::HEXLOWER.encode_mut(&self.0, &mut buffer);
        f.write_str(std::str::from_utf8(&buffer).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Id {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits: &[u8; 64] = text
            .as_bytes()
            .try_into()
            .map_err(|_| Invalid::malformed(format_args!("an ID has 64 hex digits, not {}", text.len())))?;
        Self::from_hex(digits)
            .ok_or_else(|| Invalid::malformed("an ID holds a character that is not a lower-case hex digit"))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hex digits")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}
