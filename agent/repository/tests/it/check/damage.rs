//! The ways a stored file can be damaged.

use std::fmt::Debug;

/// What happens to the bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    Emptied,
    CutByOne,
    CutInHalf,
    FlippedAtStart,
    FlippedInTheMiddle,
    FlippedAtEnd,
    Removed,
    /// By the bytes of another file of its kind.
    Replaced,
    Appended,
}

const ALL: [Damage; 9] = [
    Damage::Emptied,
    Damage::CutByOne,
    Damage::CutInHalf,
    Damage::FlippedAtStart,
    Damage::FlippedInTheMiddle,
    Damage::FlippedAtEnd,
    Damage::Removed,
    Damage::Replaced,
    Damage::Appended,
];

impl Damage {
    /// `None`: the file is gone.
    pub(super) fn apply(self, mut bytes: Vec<u8>, other: Vec<u8>) -> Option<Vec<u8>> {
        let last = bytes.len() - 1;
        match self {
            Self::Emptied => bytes.clear(),
            Self::CutByOne => bytes.truncate(last),
            Self::CutInHalf => bytes.truncate(last / 2),
            Self::FlippedAtStart => bytes[0] ^= 1,
            Self::FlippedInTheMiddle => bytes[last / 2] ^= 1,
            Self::FlippedAtEnd => bytes[last] ^= 1,
            Self::Removed => return None,
            Self::Replaced => {
                assert_ne!(bytes, other, "another file has other bytes");
                bytes = other;
            }
            Self::Appended => bytes.extend_from_slice(b"more"),
        }
        Some(bytes)
    }

    /// Whether nothing of a pack is left.
    pub(super) fn takes_all(self) -> bool {
        matches!(self, Self::Emptied | Self::Removed | Self::Replaced)
    }
}

/// Runs a test with every damage, several at once.
pub(super) fn each(test: impl Fn(Damage) + Sync) {
    std::thread::scope(|scope| {
        for some in ALL.chunks(3) {
            let test = &test;
            scope.spawn(move || some.iter().for_each(|damage| test(*damage)));
        }
    });
}
