//! Bytes as a URL spells them: names of files are any bytes, and what is read here is anybody's.

use std::fmt::Write;

/// What is wrong with a text that is to be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odd;

/// A path with everything spelled out that could mean anything in a query.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(*byte));
            }
            byte => write!(text, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    text
}

/// The value of a query's parameter, where a plus is a blank. A percent sign that spells no byte is refused: what was
/// meant by it is not known.
pub fn decode(text: &str) -> Result<Vec<u8>, Odd> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, behind) = rest.split_at_checked(2).ok_or(Odd)?;
                rest = behind;
                data_encoding::HEXLOWER_PERMISSIVE.decode(digits).map_err(|_| Odd)?[0]
            }
            byte => *byte,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Ok(all));
        assert_eq!(encode("/a b/gr\u{fc}n+\n".as_bytes()), "/a%20b/gr%C3%BCn%2B%0A");
        assert_eq!(decode("/a+b%2b%41").unwrap(), b"/a b+A");
    }

    #[test]
    fn what_spells_no_byte_is_refused() {
        for text in ["%", "%4", "a%", "%zz", "%+1", "% 1", "%%41", "%\u{fc}"] {
            assert_eq!(decode(text), Err(Odd), "{text}");
        }
    }
}
