//! Every bound of the engine in one place, with its reason. See the memory formula in ARCHITECTURE.md.

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

/// Plaintext of chunks being read, hashed and sealed at once, over all workers of a backup.
pub const CHUNK_BUFFER_BYTES: usize = 24 * MIB;

/// A data blob above this is distrusted; restic's chunks end at 8 MiB.
pub const MAX_DATA_BLOB_BYTES: usize = 64 * MIB;

/// A tree blob above this is distrusted: 50,000 entries take 18 MB.
pub const MAX_TREE_BLOB_BYTES: usize = 512 * MIB;

/// restic's own limit for the header of a pack.
pub const MAX_PACK_HEADER_BYTES: usize = 16 * MIB;

/// Decoded JSON of one snapshot, lock, config or key file.
pub const MAX_SMALL_FILE_BYTES: usize = 16 * MIB;

/// Decoded JSON of one index file: restic ends one at 50,000 blobs, about 8 MB; rustic's are larger.
pub const MAX_INDEX_FILE_BYTES: usize = 256 * MIB;

/// Memory scrypt may take to open a key: `128 * N * r`. A key file is not authenticated before it is used.
pub const MAX_SCRYPT_BYTES: u64 = 64 * MIB as u64;

/// restic stops at this many key files.
pub const MAX_KEY_FILES: usize = 20;

/// Size at which a pack is closed (restic's default).
pub const PACK_SIZE_BYTES: u32 = 16 * MIB as u32;

/// Blobs in one index file at most (restic's limit).
pub const MAX_INDEX_BLOBS: usize = 50_000;

/// The first index file of a backup is written after this much pack data, each later one after twice as much.
pub const FIRST_INDEX_AFTER_BYTES: u64 = 64 * MIB as u64;
