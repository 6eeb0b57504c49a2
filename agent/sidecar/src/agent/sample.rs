//! The embedded default of `make run`: a small source and its settings, to see the agent work without setting up
//! anything. Nothing that exists is overwritten.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::config::secret::PASSWORD;

const FILES: [(&str, &str); 3] = [
    (
        "notes.txt",
        "Change me, add files beside me: the next snapshot, at the full minute, holds what changed.\n",
    ),
    ("recipes/bread.md", "# Bread\n\n500 g flour, 350 g water, 10 g salt, 2 g yeast, 18 hours.\n"),
    ("recipes/tea.md", "# Tea\n\n3 g leaves, 250 g water of 80 degrees, 3 minutes.\n"),
];

/// Makes `directory/source`, `directory/credentials` and `directory/config.yaml`; returns the path of the last. The
/// repository is to be `directory/repository`, which the first run creates.
pub fn make(directory: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let directory = directory.canonicalize().with_context(|| format!("resolve {}", directory.display()))?;
    for (name, content) in FILES {
        create(&directory.join("source").join(name), content.as_bytes(), 0o644)?;
    }
    create(&directory.join("credentials").join(PASSWORD), b"sample", 0o600)?;
    let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let settings = serde_json::json!({
        "repository": path("repository"),
        "sources": [path("source")],
        "schedule": "* * * * *",
        "identity": "sample",
        "cacheDir": path("cache"),
        "credentialsDir": path("credentials"),
        "retryMin": "5s",
    });
    let config = directory.join("config.yaml");
    create(&config, serde_norway::to_string(&settings)?.as_bytes(), 0o644)?;
    Ok(config)
}

fn create(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let parent = path.parent().context("a sample's file has a directory")?;
    std::fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(mut file) => file.write_all(content).with_context(|| format!("write {}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e).with_context(|| format!("create {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::raw::Raw;
    use crate::agent::config::{Config, Loaded, Source, secret};
    use crate::environment::Environment;

    #[test]
    fn the_sample_is_a_whole_set_of_settings_and_keeps_what_exists() {
        let directory = tempfile::tempdir().unwrap();
        let file = make(directory.path()).unwrap();
        let notes = directory.path().join("source/notes.txt");
        std::fs::write(&notes, "mine").unwrap();
        assert_eq!(make(directory.path()).unwrap(), file);
        assert_eq!(std::fs::read_to_string(notes).unwrap(), "mine");

        let loaded = Source::new(Raw::default(), &Environment::default(), Some(file)).load();
        let Loaded::Good(config) = loaded else { panic!("{loaded:?}") };
        assert!(config.plans[0].sources[0].join("recipes/tea.md").exists());
        let Config { credentials_directory, repository, .. } = &*config;
        let credentials = secret::load(credentials_directory, &Environment::default(), repository).unwrap();
        assert_eq!(credentials.password.expose(), b"sample");
    }
}
