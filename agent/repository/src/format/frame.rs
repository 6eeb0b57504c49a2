//! zstd frames: written as restic writes them, read from whoever wrote them, never beyond a bound.
//!
//! A frame states its content size (libzstd is given the input whole, which pledges it), has no checksum and a
//! window of 512 KiB; up to that size it is a single segment. What a frame claims about itself is the word of
//! whoever wrote it: memory is taken for what the caller allows, never for what the frame asks.

use std::fmt;
use std::io::{self, Cursor, Write};

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::Invalid;
use crate::limits::KIB;

/// restic's window. A chunk matches little farther back, and it bounds the memory of both sides.
const WINDOW_LOG: u32 = 19;

/// The largest window a frame may ask for when it is read as a stream: 8 MiB, the largest chunk of restic.
const MAX_STREAM_WINDOW_LOG: u32 = 23;

/// What a stream is decompressed into, piece by piece: zstd's block size.
const PIECE_BYTES: usize = 128 * KIB;

/// How hard to compress, as `auto` and `max` of restic do. Chosen by what restic 0.19 stores for the same chunks
/// (bytes of its frames against ours by level; CPU speed in MB/s of one core at 2.5 GHz beside busy others):
///
/// ```text
///                                auto   level 1       level 2       level 3        max    level 5  level 6  level 9
/// source code in 8 KiB           6.48   6.60  191     6.64  189     6.44  159      6.01   6.03     5.97     5.94 MB
/// random words in 8 KiB         14.89  14.97  109    15.11  111    14.95   83     14.74  14.82    14.77    14.74 MB
/// source code in 1 MiB           5.85   6.16  225     6.06  200     5.78  144      4.98   5.22     5.03     4.90 MB
/// half noise in 1 MiB           38.62  38.56  415    38.45  372    38.21  179     37.84  37.77    37.62    37.54 MB
/// context of one thread                 0.6 MiB       0.8 MiB       1.2 MiB               3.0      3.0      5.5 MiB
/// ```
///
/// Level 3 is the lowest that is nowhere more than 1% larger than `auto`, and 6 the lowest for `max`. Above 6
/// each thread takes nearly twice the memory for 3% at most, too much for a container of 64 MiB. Where samples say
/// that a good part is noise, `auto` takes level 1: more than twice as fast there, and still smaller than restic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Fastest,
    Auto,
    Max,
}

const LEVEL_FOR_NOISE: i32 = 1;

/// Samples of a blob: one for each so many bytes, up to a few. Each costs about ten microseconds.
const BYTES_PER_SAMPLE: usize = 64 * KIB;
const MAX_SAMPLES: usize = 8;
const SAMPLE_BYTES: usize = 2 * KIB;

impl Level {
    fn number(self) -> i32 {
        match self {
            Self::Fastest => LEVEL_FOR_NOISE,
            Self::Auto => 3,
            Self::Max => 6,
        }
    }
}

/// One thread's compression context, used for one frame after the other.
pub struct Compressor {
    context: CCtx<'static>,
    level: Level,
    sample: Vec<u8>,
}

impl Compressor {
    pub fn new(level: Level) -> Self {
        let mut context = CCtx::create();
        for parameter in [
            CParameter::WindowLog(WINDOW_LOG),
            CParameter::ContentSizeFlag(true),
            CParameter::ChecksumFlag(false),
        ] {
            context.set_parameter(parameter).expect("libzstd knows its own parameters");
        }
        Self { context, level, sample: Vec::with_capacity(zstd_safe::compress_bound(SAMPLE_BYTES)) }
    }

    /// Appends one frame that holds `plain`.
    pub fn append(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let is_noisy = self.level == Level::Auto && self.is_noisy(plain);
        self.set_level(if is_noisy { LEVEL_FOR_NOISE } else { self.level.number() });
        let start = out.len();
        out.reserve(zstd_safe::compress_bound(plain.len()));
        let mut place = Cursor::new(out);
        place.set_position(start as u64);
        self.context.compress2(&mut place, plain).expect("a frame fits into the bound libzstd gives for it");
    }

    /// Appends one frame that holds the `content_bytes` which `write` writes, however long they are never in memory
    /// together.
    pub fn append_written(
        &mut self,
        content_bytes: u64,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) {
        self.set_level(self.level.number());
        self.context.set_pledged_src_size(Some(content_bytes)).expect("no frame is begun");
        let mut frame = Frame { context: &mut self.context, out };
        write(&mut frame).expect("a Vec takes every write");
        frame.push(&[], ZSTD_EndDirective::ZSTD_e_end);
    }

    /// Whether at least a quarter of the samples does not compress.
    fn is_noisy(&mut self, plain: &[u8]) -> bool {
        if plain.len() < 2 * SAMPLE_BYTES {
            return false;
        }
        self.set_level(LEVEL_FOR_NOISE);
        let samples = (plain.len() / BYTES_PER_SAMPLE).clamp(1, MAX_SAMPLES);
        let distance = plain.len() / samples;
        let noisy = (0..samples).filter(|number| {
            let start = number * distance + (distance - SAMPLE_BYTES) / 2;
            self.sample.clear();
            let taken = &plain[start..start + SAMPLE_BYTES];
            let size = self.context.compress2(&mut self.sample, taken).unwrap_or(SAMPLE_BYTES);
            size > SAMPLE_BYTES - SAMPLE_BYTES / 16
        });
        noisy.count() * 4 >= samples
    }

    fn set_level(&mut self, level: i32) {
        let parameter = CParameter::CompressionLevel(level);
        self.context.set_parameter(parameter).expect("libzstd knows its own parameters");
    }
}

/// A frame in the making, at the end of a buffer.
struct Frame<'a> {
    context: &'a mut CCtx<'static>,
    out: &'a mut Vec<u8>,
}

impl Frame<'_> {
    fn push(&mut self, content: &[u8], directive: ZSTD_EndDirective) {
        let mut input = InBuffer::around(content);
        loop {
            self.out.reserve(PIECE_BYTES);
            let start = self.out.len();
            let mut output = OutBuffer::around_pos(&mut *self.out, start);
            let left = self.context.compress_stream2(&mut output, &mut input, directive);
            let left = left.expect("the content is as long as was said before");
            let is_taken = input.pos() == content.len();
            if is_taken && (left == 0 || directive == ZSTD_EndDirective::ZSTD_e_continue) {
                return;
            }
        }
    }
}

impl Write for Frame<'_> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.push(content, ZSTD_EndDirective::ZSTD_e_continue);
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compressor")
    }
}

/// One thread's decompression context and its small output buffer.
pub struct Decompressor {
    context: DCtx<'static>,
    piece: Vec<u8>,
}

impl Default for Decompressor {
    fn default() -> Self {
        let mut context = DCtx::create();
        context
            .set_parameter(DParameter::WindowLogMax(MAX_STREAM_WINDOW_LOG))
            .expect("libzstd knows its own parameters");
        Self { context, piece: Vec::new() }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decompressor")
    }
}

impl Decompressor {
    /// Replaces the content of `out` by that of the frame, which is exactly `size_bytes` or an error. The
    /// caller has checked `size_bytes` against its limit; no more than that is ever reserved.
    pub fn exactly(
        &mut self,
        what: &'static str,
        frame: &[u8],
        size_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid> {
        out.clear();
        if let Some(claimed) = content_size(frame)? {
            check_size(what, claimed, size_bytes)?;
        }
        out.reserve_exact(size_bytes);
        let written = self.context.decompress(out, frame).map_err(|code| overflow(what, code, size_bytes))?;
        check_size(what, written as u64, size_bytes)
    }

    /// The content of a frame whose size nobody but the frame tells, at most `max_bytes`.
    pub fn at_most(
        &mut self,
        what: &'static str,
        frame: &[u8],
        max_bytes: usize,
    ) -> Result<Vec<u8>, Invalid> {
        let too_large = |size_bytes| Invalid::TooLarge { what, size_bytes, max_bytes: max_bytes as u64 };
        let claimed = content_size(frame)?;
        if let Some(claimed) = claimed.filter(|claimed| *claimed > max_bytes as u64) {
            return Err(too_large(claimed));
        }
        // Without a claim (a frame written as a stream) the room is found by trying, from a usual ratio on.
        let mut room = match claimed {
            Some(claimed) => claimed as usize,
            None => frame.len().saturating_mul(8).clamp(PIECE_BYTES, max_bytes),
        };
        let mut out = Vec::new();
        loop {
            out.clear();
            out.reserve_exact(room);
            match self.context.decompress(&mut out, frame) {
                Ok(_) => return Ok(out),
                Err(code) if is_overflow(code) && claimed.is_none() && room < max_bytes => {
                    room = room.saturating_mul(4).min(max_bytes);
                }
                Err(code) if is_overflow(code) => return Err(too_large(out.capacity() as u64 + 1)),
                Err(code) => return Err(broken(code)),
            }
        }
    }

    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        self.context.sizeof() + self.piece.capacity()
    }

    /// Begins to decompress a frame that comes in pieces.
    pub fn stream(&mut self) -> Stream<'_> {
        self.context.reset(ResetDirective::SessionOnly).expect("a session can always be reset");
        self.piece.reserve_exact(PIECE_BYTES);
        Stream { decompressor: self, ended: false }
    }
}

/// A frame that is being decompressed piece by piece; its memory is the window and one piece.
#[derive(Debug)]
pub struct Stream<'a> {
    decompressor: &'a mut Decompressor,
    ended: bool,
}

impl Stream<'_> {
    /// Takes the next piece of the frame and hands on what it decompresses to.
    pub fn push(
        &mut self,
        input: &[u8],
        each: &mut impl FnMut(&[u8]) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        let Decompressor { context, piece } = &mut *self.decompressor;
        let mut input = InBuffer::around(input);
        loop {
            piece.clear();
            let mut output = OutBuffer::around(piece);
            let room = output.capacity();
            let hint = context.decompress_stream(&mut output, &mut input).map_err(broken)?;
            let written = output.pos();
            self.ended = hint == 0;
            each(piece)?;
            // A full piece may have left something behind in the context.
            if input.pos() == input.src.len() && (written < room || self.ended) {
                return Ok(());
            }
        }
    }

    /// Whether the frame came to its end.
    pub fn finish(self) -> Result<(), Invalid> {
        if self.ended { Ok(()) } else { Err(Invalid::malformed("the compressed data ends too early")) }
    }
}

fn content_size(frame: &[u8]) -> Result<Option<u64>, Invalid> {
    zstd_safe::get_frame_content_size(frame).map_err(|_| Invalid::malformed("this is no zstd frame"))
}

fn check_size(what: &'static str, size_bytes: u64, wanted_bytes: usize) -> Result<(), Invalid> {
    let wanted_bytes = wanted_bytes as u64;
    match size_bytes.cmp(&wanted_bytes) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(Invalid::TooLarge { what, size_bytes, max_bytes: wanted_bytes }),
        std::cmp::Ordering::Less => Err(Invalid::malformed(format_args!(
            "the compressed data holds {size_bytes} bytes where {wanted_bytes} are told"
        ))),
    }
}

fn overflow(what: &'static str, code: usize, max_bytes: usize) -> Invalid {
    if is_overflow(code) {
        Invalid::TooLarge { what, size_bytes: max_bytes as u64 + 1, max_bytes: max_bytes as u64 }
    } else {
        broken(code)
    }
}

fn is_overflow(code: usize) -> bool {
    // libzstd returns its error numbers negated.
    code.wrapping_neg() == zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize
}

fn broken(code: usize) -> Invalid {
    Invalid::malformed(format_args!("the compressed data is damaged: {}", zstd_safe::get_error_name(code)))
}
