//! Files of patterns, which both doors take: lines as restic reads them, the environment's variables replaced.

use std::path::PathBuf;

use anyhow::Context;
use pillion_repository::filter::text;

use crate::environment::Environment;

pub fn read(files: &[PathBuf], environment: &Environment) -> anyhow::Result<Vec<Vec<u8>>> {
    let lookup = |name: &[u8]| {
        let value = environment.raw(std::str::from_utf8(name).ok()?)?;
        Some(value.as_encoded_bytes().to_vec())
    };
    let mut patterns = Vec::new();
    for file in files {
        let contents =
            std::fs::read(file).with_context(|| format!("read patterns from {}", file.display()))?;
        patterns.extend(text::patterns(&contents, &lookup));
    }
    Ok(patterns)
}
