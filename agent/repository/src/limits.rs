//! Every bound of the engine in one place, with its reason. See the memory formula in ARCHITECTURE.md.

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

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

/// Chunks that wait for another worker than the one that read them. Each worker has room for one more chunk
/// that it reads and one that it seals.
pub const QUEUED_CHUNK_BYTES: usize = 4 * MIB;

/// Files that were found changed and wait to be read.
pub const MAX_QUEUED_READS: usize = 512;

/// Directories below one another. A longer path could be given to no program anyway: a path has 4,096 bytes.
pub const MAX_DEPTH: usize = 2_048;

/// A buffer is given back to the system when a blob made it larger than this.
pub const KEPT_BUFFER_BYTES: usize = MIB;

/// Packs on their way into the store at once, each a file of a pack's size in the spool.
pub const MAX_UPLOADS: usize = 5;

/// Packs that grow at once: two of each kind, so that their sizes tell nothing of their blobs'.
pub const MAX_OPEN_PACKS: usize = 4;

/// A blob that is sealed into this many bytes or more gets a pack of its own. The longest chunk stays below it, also
/// where compression makes it longer: only trees of very large directories have so many.
pub const MAX_SHARED_BLOB_BYTES: u32 = (8 * MIB + 128 * KIB) as u32;

/// What a pack of that size may have, its header included: it is closed once it has reached its size, and by then one
/// more blob may have gone in.
pub fn max_pack_bytes(pack_size_bytes: u32) -> u64 {
    u64::from(pack_size_bytes) + u64::from(pack_size_bytes.min(MAX_SHARED_BLOB_BYTES)) + KIB as u64
}

/// What a pack of one blob may have, its header included.
pub fn max_lone_pack_bytes(blob_bytes: u32) -> u64 {
    u64::from(blob_bytes) + KIB as u64
}

/// The bytes of a pack that the cache keeps or drops together, and that are loaded with one request: hundreds of trees.
/// Each thread that walks has one in memory while it loads it.
pub const TREE_PIECE_BYTES: u64 = MIB as u64;

/// Files that a cache keeps, each noted in about 200 bytes of memory.
pub const MAX_CACHED_FILES: usize = 16_384;

/// Entries of one directory: its tree stays below [`MAX_TREE_BLOB_BYTES`] and its list of names below 64 MiB
/// with names of usual length. A larger one is left out with a reason.
pub const MAX_DIRECTORY_ENTRIES: usize = 1_000_000;

/// Bytes of packs that `check` has in memory at once, over all threads.
pub const CHECK_BUFFER_BYTES: usize = 24 * MIB;

/// Threads of a check or a restore, which wait for the store by turns: each has a zstd context and buffers of its own.
pub const MAX_LOADING_THREADS: usize = 8;

/// Paths that `check` names; more are counted.
pub const MAX_AFFECTED_PATHS: usize = 1_000;

/// Missing blobs that `check` names and remembers; more are counted.
pub const MAX_NAMED_BLOBS: usize = 1_000;
/// The plan of a restore: what it holds of files that are not written yet, over all batches under way.
pub const RESTORE_PLAN_BYTES: usize = 16 * MIB;

/// One batch of that plan. Within a batch no blob is loaded twice; the next one is planned meanwhile.
pub const RESTORE_BATCH_BYTES: usize = 4 * MIB;

/// Neighbouring blobs are loaded together up to this many bytes.
pub const RESTORE_RANGE_BYTES: u32 = 4 * MIB as u32;

/// Bytes between two wanted blobs that are loaded and thrown away rather than asked around.
pub const RESTORE_GAP_BYTES: u32 = 64 * KIB as u32;

/// Loaded ranges and opened blobs at once, over all workers of a restore.
pub const RESTORE_BUFFER_BYTES: usize = 24 * MIB;

/// Directories of a target kept open. With the files below it stays far from the usual limit of 1,024 handles.
pub const MAX_OPEN_DIRECTORIES: usize = 256;

/// Files of a target kept open between two of their blobs.
pub const MAX_OPEN_FILES: usize = 64;

/// A run of zeros in a restored file becomes a hole from this length on: a shorter one costs more in the file
/// system's own records than it saves.
pub const MIN_HOLE_BYTES: usize = 32 * KIB;

/// Decoded JSON of the marker in a restore's target.
pub const MAX_MARKER_BYTES: usize = 64 * KIB;
