//! Key files: the master key of the repository, sealed with keys that scrypt makes of a password.
//!
//! Plain JSON, neither encrypted nor compressed, and **not authenticated before it is used**: whoever can write to
//! the store chooses the cost of opening it. So the cost is checked before any memory is taken, and a file that asks
//! too much is told apart from a wrong password. One repository may have several; the caller tries them in turn.

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use super::crypto::{self, IV_BYTES, MasterKey};
use super::time::Timestamp;
use super::{Invalid, json};
use crate::limits;

const SALT_BYTES: usize = 64;

/// What new key files ask: 32 MiB of memory, about as long as restic takes, and half of a container of 64 MiB.
const NEW_N: u64 = 32_768;
const NEW_R: u32 = 8;
const NEW_P: u32 = 1;

/// restic writes 1. It multiplies the time without need of memory, so that no other limit catches it.
const MAX_P: u32 = 16;

/// Memory for the state of the `p` lanes, which is not in the formula of the limit; a usual one is 1 KiB.
const MAX_LANES_BYTES: u64 = limits::MIB as u64;

/// What scrypt takes for a key file: `128 * n * r` bytes of memory, and time in proportion to `p` as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub n: u64,
    pub r: u32,
    pub p: u32,
}

impl Cost {
    pub const USUAL: Self = Self { n: NEW_N, r: NEW_R, p: NEW_P };
    /// scrypt's smallest: no protection at all, for tests that open keys by the thousand.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self { n: 2, r: 1, p: 1 };
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the password does not open this key")]
    WrongPassword,
    #[error("the key file asks for {bytes} bytes of memory")]
    TooCostly { bytes: u64 },
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// The content of a key file, in the order in which restic writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFile {
    pub created: Timestamp,
    #[serde(default)]
    pub username: String,
    #[serde(default)]
    pub hostname: String,
    pub kdf: String,
    #[serde(rename = "N")]
    pub n: u64,
    pub r: u32,
    pub p: u32,
    #[serde(with = "base64")]
    pub salt: Vec<u8>,
    /// The sealed master key.
    #[serde(with = "base64")]
    pub data: Vec<u8>,
}

impl KeyFile {
    pub fn decode(json: &[u8]) -> Result<Self, Invalid> {
        serde_json::from_slice(json).map_err(Invalid::malformed)
    }

    pub fn encode(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Seals `master` with a password. Takes 32 MiB and some tenths of a second.
    pub fn create(
        password: &[u8],
        master: &MasterKey,
        created: Timestamp,
        hostname: &str,
        username: &str,
    ) -> Self {
        Self::create_at(Cost::USUAL, password, master, created, hostname, username)
    }

    /// As [`KeyFile::create`], at another cost, whatever that takes here and at every opening.
    pub fn create_at(
        cost: Cost,
        password: &[u8],
        master: &MasterKey,
        created: Timestamp,
        hostname: &str,
        username: &str,
    ) -> Self {
        let mut salt = vec![0; SALT_BYTES];
        crypto::fill_random(&mut salt);
        let mut file = Self {
            created,
            username: username.to_owned(),
            hostname: hostname.to_owned(),
            kdf: "scrypt".to_owned(),
            n: cost.n,
            r: cost.r,
            p: cost.p,
            salt,
            data: Vec::new(),
        };
        let user = file
            .derive(password, file.memory_bytes())
            .expect("a cost that we choose is one that scrypt takes");
        let json = encode_master(master);
        file.data.reserve(crypto::OVERHEAD_BYTES + json.len());
        file.data.resize(IV_BYTES, 0);
        file.data.extend_from_slice(&json);
        user.seal_in_place(&mut file.data, 0);
        file
    }

    /// The master key, within [`limits::MAX_SCRYPT_BYTES`].
    pub fn open(&self, password: &[u8]) -> Result<MasterKey, KeyError> {
        self.open_within(password, limits::MAX_SCRYPT_BYTES)
    }

    /// As [`KeyFile::open`], for a process that may take more memory.
    pub fn open_within(&self, password: &[u8], max_bytes: u64) -> Result<MasterKey, KeyError> {
        let user = self.derive(password, max_bytes)?;
        let mut sealed = Zeroizing::new(self.data.clone());
        match user.open_in_place(&mut sealed) {
            Ok(json) => Ok(decode_master(json)?),
            Err(Invalid::Unauthentic) => Err(KeyError::WrongPassword),
            Err(other) => Err(other.into()),
        }
    }

    /// The memory scrypt takes for this file, whatever the file says.
    pub fn memory_bytes(&self) -> u64 {
        self.n.saturating_mul(self.r.into()).saturating_mul(128)
    }

    fn derive(&self, password: &[u8], max_bytes: u64) -> Result<MasterKey, KeyError> {
        let invalid = |why: &str| KeyError::Invalid(Invalid::malformed(why));
        if self.kdf != "scrypt" {
            return Err(invalid("the key file wants another key derivation than scrypt"));
        }
        if self.salt.len() != SALT_BYTES {
            return Err(invalid("the salt has not 64 bytes"));
        }
        if self.n < 2 || !self.n.is_power_of_two() || self.r == 0 || self.p == 0 {
            return Err(invalid("scrypt does not take these N, r and p"));
        }
        let bytes = self.memory_bytes();
        if bytes > max_bytes {
            return Err(KeyError::TooCostly { bytes });
        }
        let lanes_bytes = 128 * u64::from(self.r) * u64::from(self.p);
        if self.p > MAX_P || lanes_bytes > MAX_LANES_BYTES.max(128 * u64::from(self.r)) {
            return Err(invalid("r and p of the key file are larger than anyone uses"));
        }
        let parameters = scrypt::Params::new(self.n.ilog2() as u8, self.r, self.p)
            .map_err(|_| invalid("scrypt does not take these N, r and p"))?;
        let mut derived = Zeroizing::new([0; 64]);
        scrypt::scrypt(password, &self.salt, &parameters, &mut derived[..])
            .map_err(|_| invalid("scrypt does not take these N, r and p"))?;
        Ok(MasterKey::from_derived(&derived)?)
    }
}

/// What is sealed in `data`; the texts are base64 of secrets, hence the care on dropping.
#[derive(Serialize, Deserialize)]
struct MasterFields {
    mac: MacFields,
    encrypt: String,
}

#[derive(Serialize, Deserialize)]
struct MacFields {
    k: String,
    r: String,
}

impl Drop for MasterFields {
    fn drop(&mut self) {
        self.mac.k.zeroize();
        self.mac.r.zeroize();
        self.encrypt.zeroize();
    }
}

/// As it is sealed in a key file: for a process that opened it for another.
pub fn encode_master(master: &MasterKey) -> Zeroizing<Vec<u8>> {
    let (encrypt, k, r) = master.parts();
    let fields = MasterFields {
        mac: MacFields { k: BASE64.encode(k), r: BASE64.encode(r) },
        encrypt: BASE64.encode(encrypt),
    };
    Zeroizing::new(json::to_vec(&fields))
}

/// See [`encode_master`].
pub fn decode_master(json: &[u8]) -> Result<MasterKey, Invalid> {
    let fields: MasterFields = serde_json::from_slice(json)
        .map_err(|_| Invalid::malformed("the master key is not written as JSON"))?;
    let encrypt = Zeroizing::new(decode_part::<32>(&fields.encrypt)?);
    let k = Zeroizing::new(decode_part::<16>(&fields.mac.k)?);
    let r = Zeroizing::new(decode_part::<16>(&fields.mac.r)?);
    MasterKey::new(&encrypt, &k, &r)
}

/// The cause of an error is not told: it would quote the secret.
fn decode_part<const N: usize>(text: &str) -> Result<[u8; N], Invalid> {
    let wrong = || Invalid::malformed("a part of the master key has the wrong length");
    let bytes = Zeroizing::new(BASE64.decode(text.as_bytes()).map_err(|_| wrong())?);
    bytes.as_slice().try_into().map_err(|_| wrong())
}

mod base64 {
    use super::{BASE64, Deserialize, Deserializer, Serializer};
    use serde::de::Error as _;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&BASE64.encode_display(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
