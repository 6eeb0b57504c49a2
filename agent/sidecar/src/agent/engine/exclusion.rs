//! What a run leaves out: the settings, with what is in the files they name.
//!
//! The files are read anew for each run, as a person's command does; `--check-config` reads them too. What is wrong is
//! said with the setting's name: nobody wrote an option of the command line here.

use std::path::PathBuf;

use pillion_backend::location::Location;
use pillion_repository::filter::{Case, ExcludeOptions, Exclusion, PatternList, PatternOptions};

use super::bytes;
use crate::agent::config::Config;
use crate::agent::config::plan::Plan;
use crate::environment::Environment;
use crate::patterns;

/// The exclusion of a run. The error is one sentence.
pub fn of(config: &Config, plan: &Plan, environment: &Environment) -> Result<Exclusion, String> {
    let exclude = &plan.exclude;
    // A repository below a source would be in each of its snapshots, and grow by itself with every run.
    let repository = match &config.repository {
        Location::Local(path) => Some(path),
        _ => None,
    };
    let own_directories = std::iter::once(&config.cache_directory).chain(repository);
    let texts = |patterns: &[String]| patterns.iter().map(|text| text.as_bytes().to_vec()).collect();
    let read = |name, files, case| read(name, files, case, environment);
    let mut file_patterns = read("excludeFile", &exclude.files, Case::Sensitive)?;
    // Where the cache cannot be used.
    file_patterns.push(patterns::of_spools(&environment.temporary_directory()));
    let parsed = Exclusion::parse(ExcludeOptions {
        patterns: PatternOptions {
            patterns: texts(&exclude.patterns),
            insensitive_patterns: texts(&exclude.insensitive_patterns),
            file_patterns,
            insensitive_file_patterns: read("iexcludeFile", &exclude.insensitive_files, Case::Insensitive)?,
        },
        if_present: texts(&exclude.if_present),
        caches: exclude.caches,
        larger_than: exclude.larger_than_bytes.map(|bytes| bytes.to_string()),
        target_devices: None,
        own_directories: own_directories.map(|directory| bytes(directory)).collect(),
        built_in_roots: plan.sources.iter().map(|source| bytes(source)).collect(),
    });
    parsed.map_err(|e| e.to_string())
}

/// The patterns of the files that the setting `name` names.
fn read(
    name: &'static str,
    files: &[PathBuf],
    case: Case,
    environment: &Environment,
) -> Result<Vec<Vec<u8>>, String> {
    let patterns = patterns::read_regular(files, environment).map_err(|e| format!("{name}: {e:#}"))?;
    PatternList::parse(name, &patterns, case).map_err(|e| e.to_string())?;
    Ok(patterns)
}
