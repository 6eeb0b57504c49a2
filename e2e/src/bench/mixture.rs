//! The source of the bench of stores: 1 GB of what is backed up in practice, few large files and many small ones.
//!
//! Half of the bytes are 16 files of 31 MB, made of noise and of text in turns; the other half is 57,500 files of 1 to
//! 16 KiB, each noise or text. zstd halves text and leaves noise. Both are the other benches' data at a smaller
//! scale, side by side below one folder; see [`super::data`].

use std::path::PathBuf;

use anyhow::Result;

use super::Options;
use super::compare::settle;
use super::data::{DataSet, Generation, Source};

/// 0.50 GB of the 2.00 GB of large files, and of the 1.74 GB of small ones.
const SHARES: [(DataSet, f64); 2] = [(DataSet::Large, 0.25), (DataSet::Small, 0.2875)];

#[derive(Debug)]
pub struct Mixture {
    pub path: PathBuf,
    parts: Vec<Source>,
}

impl Mixture {
    /// Makes it, or takes what is there.
    pub fn prepare(options: &Options, tell: &dyn Fn(&str)) -> Result<Self> {
        tell("mixture: making the data, or taking what is there");
        let path = options.directory.join("data").join("mixture");
        let part = |(set, share)| {
            let source = Source::prepare(set, &path, options.seed, options.scale * share)?;
            source.rewrite(Generation::Pristine)?;
            Ok(source)
        };
        let parts = SHARES.into_iter().map(part).collect::<Result<_>>()?;
        Ok(Self { path, parts })
    }

    /// At rest, and in the page cache.
    pub fn settle(&self, tell: &dyn Fn(&str)) -> Result<()> {
        self.parts.iter().try_for_each(|part| settle(part, tell))
    }
}
