//! The config file: what every reader and writer of one repository must agree on.
//!
//! It is encrypted but never compressed, and holds these three fields and nothing else: a migration by restic
//! rewrites it and would drop any other. Never taken from it without a check: a chunker with a polynomial that is
//! not irreducible cuts badly, and one of another degree differently.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::Id;
use super::polynomial::Polynomial;
use super::{Invalid, crypto, json};

/// The degree of every polynomial restic makes.
const POLYNOMIAL_DEGREE: u32 = 53;

/// The versions of the format. Two brought compression; new repositories get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

impl Version {
    pub fn number(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("the repository has version {0}; this program knows 1 and 2")]
    UnsupportedVersion(u32),
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub version: Version,
    /// Chosen at random when the repository was made: it tells one repository from another.
    pub id: Id,
    pub chunker_polynomial: Polynomial,
}

#[derive(Serialize, Deserialize)]
struct Fields {
    version: u32,
    id: Id,
    #[serde(serialize_with = "serialize_polynomial", deserialize_with = "deserialize_polynomial")]
    chunker_polynomial: Polynomial,
}

impl Config {
    /// A config of version 2 with a random ID.
    pub fn create(chunker_polynomial: Polynomial) -> Self {
        let mut id = [0; 32];
        crypto::fill_random(&mut id);
        Self { version: Version::Two, id: Id::from_bytes(id), chunker_polynomial }
    }

    /// From the decrypted JSON.
    pub fn decode(json: &[u8]) -> Result<Self, ConfigError> {
        // The version first: the other fields of a later one may have another form.
        #[derive(Deserialize)]
        struct OnlyVersion {
            version: u32,
        }
        let OnlyVersion { version } = serde_json::from_slice(json).map_err(Invalid::malformed)?;
        let version = match version {
            1 => Version::One,
            2 => Version::Two,
            other => return Err(ConfigError::UnsupportedVersion(other)),
        };
        let fields: Fields = serde_json::from_slice(json).map_err(Invalid::malformed)?;
        let polynomial = fields.chunker_polynomial;
        if polynomial.0.checked_ilog2() != Some(POLYNOMIAL_DEGREE) || !polynomial.is_irreducible() {
            return Err(Invalid::malformed("the polynomial of the chunker is not one that cuts").into());
        }
        Ok(Self { version, id: fields.id, chunker_polynomial: polynomial })
    }

    pub fn encode(&self) -> Vec<u8> {
        json::to_vec(&Fields {
            version: self.version.number(),
            id: self.id,
            chunker_polynomial: self.chunker_polynomial,
        })
    }
}

fn serialize_polynomial<S: Serializer>(polynomial: &Polynomial, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{:x}", polynomial.0))
}

fn deserialize_polynomial<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Polynomial, D::Error> {
    let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = digits.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
    value.map(Polynomial).ok_or_else(|| D::Error::custom("the polynomial of the chunker is not a hex number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "5956a3f67a6230d4a92cefb29529f10196c7d92582ec305fd71ff6d331d6271b";

    fn text(version: u32, polynomial: &str) -> String {
        format!(r#"{{"version":{version},"id":"{ID}","chunker_polynomial":"{polynomial}"}}"#)
    }

    #[test]
    fn restic_s_config_is_read_and_written_unchanged() {
        for version in [1, 2] {
            let text = text(version, "25b468838dcb75");
            let config = Config::decode(text.as_bytes()).unwrap();
            assert_eq!(config.version.number(), version);
            assert_eq!(config.chunker_polynomial.0, 0x0025_b468_838d_cb75);
            assert_eq!(String::from_utf8(config.encode()).unwrap(), text);
        }
    }

    #[test]
    fn another_version_is_named_whatever_else_the_file_holds() {
        for version in [0, 3, 4_000_000_000] {
            let config = format!(r#"{{"version":{version},"id":7}}"#);
            assert_eq!(Config::decode(config.as_bytes()), Err(ConfigError::UnsupportedVersion(version)));
        }
    }

    #[test]
    fn a_polynomial_that_does_not_cut_is_refused() {
        // Reducible, too small, too large, no number.
        for polynomial in ["20000000000000", "25b468838dcb76", "3", "45b468838dcb75", "", "+1", "xyz"] {
            assert!(matches!(
                Config::decode(text(2, polynomial).as_bytes()),
                Err(ConfigError::Invalid(Invalid::Malformed(_)))
            ));
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let text = text(2, "25b468838dcb75");
        for length in 0..text.len() {
            assert!(Config::decode(&text.as_bytes()[..length]).is_err());
        }
    }
}
