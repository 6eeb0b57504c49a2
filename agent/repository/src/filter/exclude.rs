//! What a backup leaves out: restic's options, with restic's meaning.
//!
//! The scanner asks in the order of cost: [`Exclusion::by_name`] with the absolute path before anything is
//! known of an entry, [`Exclusion::by_device`] and [`Exclusion::by_metadata`] after `lstat`, and
//! [`Exclusion::by_markers`] where the directory's listing shows a marker file.
//!
//! **Invariant:** an entry the user named as a target is never excluded; only what is below it is. The
//! scanner holds that by not asking about explicit leaves of the target tree (`targets_the_user_named_are_kept_whatever_is_excluded`).

use super::options::{PatternOptions, Patterns};
use super::path;
use super::pattern::InvalidPatterns;

/// A file that takes its directory out of backups, as `--exclude-caches` looks for.
pub const CACHE_MARKER: &[u8] = b"CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55";

/// What an unfinished restore leaves in the root of its target.
pub const RESTORE_MARKER_NAME: &str = ".pillion-restore";

/// A target and the file system it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetDevice {
    /// Absolute.
    pub path: Vec<u8>,
    pub device: u64,
}

/// The options as written.
#[derive(Clone, Debug, Default)]
pub struct ExcludeOptions {
    pub patterns: PatternOptions,
    /// `--exclude-if-present`, each `FILE` or `FILE:HEADER`.
    pub if_present: Vec<Vec<u8>>,
    /// `--exclude-caches`.
    pub caches: bool,
    /// `--exclude-larger-than`, in restic's size syntax.
    pub larger_than: Option<String>,
    /// `--one-file-system`: the targets as given. `None` crosses mount points.
    pub target_devices: Option<Vec<TargetDevice>>,
    /// Directories of this program, such as its cache: never backed up. Absolute.
    pub own_directories: Vec<Vec<u8>>,
    /// Roots of sources whose [`built_in_patterns`] are excluded too. Absolute.
    pub built_in_roots: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExclusion {
    #[error(transparent)]
    Patterns(#[from] InvalidPatterns),
    #[error("--exclude-if-present: {0:?} names no file")]
    NamelessMarker(String),
    #[error("--exclude-larger-than: {0:?} is no size: write a number, perhaps with k, M, G or T behind it")]
    Size(String),
}

/// The selection of a backup, ready to be asked from many threads.
#[derive(Clone, Debug)]
pub struct Exclusion {
    own_directories: Box<[Vec<u8>]>,
    patterns: Patterns,
    size_bytes_max: u64,
    markers: Box<[DirectoryMarker]>,
    /// Longest path first, so that the nearest target above an entry is found first.
    target_devices: Option<Vec<TargetDevice>>,
    recorded: Box<[String]>,
}

impl Exclusion {
    pub fn parse(options: ExcludeOptions) -> Result<Self, InvalidExclusion> {
        let ExcludeOptions { mut patterns, mut if_present, built_in_roots, .. } = options;
        let built_in: Vec<_> = built_in_roots.iter().flat_map(|root| built_in_patterns(root)).collect();
        // In front, so that a `!` pattern can take them back.
        patterns.patterns.splice(..0, built_in);
        if options.caches {
            if_present.push(CACHE_MARKER.to_vec());
        }
        let size_bytes_max = match options.larger_than {
            Some(text) => parse_size(&text).ok_or(InvalidExclusion::Size(text))?,
            None => u64::MAX,
        };
        let target_devices = options.target_devices.map(|devices| {
            let mut devices: Vec<_> = devices
                .into_iter()
                .map(|target| TargetDevice { path: path::clean(&target.path), ..target })
                .collect();
            devices.sort_by_key(|target| std::cmp::Reverse(target.path.len()));
            devices
        });
        Ok(Self {
            own_directories: options.own_directories.iter().map(|directory| path::clean(directory)).collect(),
            recorded: patterns.patterns.iter().map(|pattern| path::lossy(pattern)).collect(),
            patterns: patterns.parse_excludes()?,
            size_bytes_max,
            markers: if_present.iter().map(|spec| DirectoryMarker::parse(spec)).collect::<Result<_, _>>()?,
            target_devices,
        })
    }

    /// The patterns a snapshot records under `excludes`: as in restic those of `--exclude`, not those of
    /// files and not those that ignore case; and the built-in ones, where they were asked for.
    pub fn recorded(&self) -> &[String] {
        &self.recorded
    }

    /// Whether nothing is ever left out by its path, size or device, so that nobody need build a path to ask.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
            && self.own_directories.is_empty()
            && self.size_bytes_max == u64::MAX
            && self.target_devices.is_none()
    }

    /// Whether the entry at this absolute path is left out whatever it is.
    pub fn by_name(&self, path: &[u8]) -> bool {
        self.patterns.matches(path)
            || self.own_directories.iter().any(|directory| path::is_within(path, directory))
    }

    /// Whether an entry is left out for its size, which never touches directories. For a symbolic link the
    /// size is its target's length.
    pub fn by_metadata(&self, is_directory: bool, size_bytes: u64) -> bool {
        !is_directory && size_bytes > self.size_bytes_max
    }

    /// Whether an entry is left out because it lies on another file system than the nearest target above it.
    /// The mount point itself is kept, empty.
    pub fn by_device(&self, path: &[u8], is_directory: bool, device: u64, parent_device: u64) -> bool {
        let Some(targets) = &self.target_devices else { return false };
        let allowed = |path: &[u8]| {
            targets.iter().find(|target| path::is_within(path, &target.path)).map(|target| target.device)
        };
        // What is below no target was not asked for by device; that cannot be a reason to drop it.
        if allowed(path).is_none_or(|allowed| allowed == device) {
            return false;
        }
        let parent = path::parent(path);
        !(is_directory && allowed(parent) == Some(parent_device))
    }

    /// The files to look for in each directory's listing. Where one is there, and its header fits, the
    /// directory is kept with nothing but that file: see [`Exclusion::by_markers`].
    pub fn directory_markers(&self) -> &[DirectoryMarker] {
        &self.markers
    }

    /// Whether an entry is left out because of the markers found in its directory, given as positions in
    /// [`Exclusion::directory_markers`]. A marker does not exclude itself, though another one does.
    pub fn by_markers(&self, found: &[usize], name: &[u8]) -> bool {
        found.iter().any(|&position| *self.markers[position].name != *name)
    }
}

/// A file whose presence takes everything else in its directory out of the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryMarker {
    /// The file's name, perhaps with that of a directory before it. Its type does not matter.
    pub name: Box<[u8]>,
    /// What the file must begin with. Where this is empty, being there is enough and nothing is read.
    pub header: Box<[u8]>,
}

/// What became of a marker's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    Fits,
    /// The directory is not excluded. Worth a warning: somebody meant it to be.
    TooShort,
    Differs,
}

impl DirectoryMarker {
    fn parse(spec: &[u8]) -> Result<Self, InvalidExclusion> {
        let colon = spec.iter().position(|&byte| byte == b':');
        let (name, header) = match colon {
            Some(colon) => (&spec[..colon], &spec[colon + 1..]),
            None => (spec, &b""[..]),
        };
        if name.is_empty() {
            return Err(InvalidExclusion::NamelessMarker(path::lossy(spec)));
        }
        Ok(Self { name: name.into(), header: header.into() })
    }

    /// Judges the file by its first bytes, of which `header.len()` are enough.
    pub fn check(&self, first_bytes: &[u8]) -> Header {
        match first_bytes.get(..self.header.len()) {
            None => Header::TooShort,
            Some(read) if read == &*self.header => Header::Fits,
            Some(_) => Header::Differs,
        }
    }
}

/// What an unattended backup of `root` leaves out unasked, as patterns: what belongs to the file system or
/// to an unfinished restore, and would make every run incomplete or be restored as data. Sockets, which
/// restic never stores either, are no pattern: the scanner drops them in every backup.
pub fn built_in_patterns(root: &[u8]) -> Vec<Vec<u8>> {
    let mut escaped = Vec::with_capacity(root.len());
    for &byte in &path::clean(root) {
        if b"\\[]*?".contains(&byte) {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    // Anchored at the root: a source below a directory of such a name is a source all the same.
    ["lost+found", RESTORE_MARKER_NAME, "**/.snapshot", "**/.nfs*"]
        .iter()
        .map(|pattern| {
            let separator: &[u8] = if escaped == b"/" { b"" } else { b"/" };
            [&escaped, separator, pattern.as_bytes()].concat()
        })
        .collect()
}

/// A size as restic writes it: a decimal number of bytes, or of the binary unit behind it (`b`, `k`, `m`,
/// `g`, `t`, either case).
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().last()? {
        (at, 'b' | 'B') => (&text[..at], 1),
        (at, 'k' | 'K') => (&text[..at], 1 << 10),
        (at, 'm' | 'M') => (&text[..at], 1 << 20),
        (at, 'g' | 'G') => (&text[..at], 1 << 30),
        (at, 't' | 'T') => (&text[..at], 1 << 40),
        _ => (text, 1_i64),
    };
    // Signed, since restic stops at the largest signed number too.
    let size = number.parse::<i64>().ok()?.checked_mul(unit)?;
    u64::try_from(size).ok()
}

#[cfg(test)]
mod tests;
