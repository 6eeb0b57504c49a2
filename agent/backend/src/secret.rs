//! A password or key in memory: overwritten when dropped, never shown, never serialized.

use zeroize::Zeroizing;

/// Bytes nobody may see. There is no `Display`, no `Serialize`, and `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The secret itself, for the one call that needs it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The secret as text, for stores whose keys are text. `None` where it is none.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing_not_even_its_length() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret");
        assert_eq!(format!("{:?}", Secret::new("")), "Secret");
    }
}
