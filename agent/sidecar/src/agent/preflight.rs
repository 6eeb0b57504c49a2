//! What `--check-config` sees beyond the settings' own text: the files and directories they name, as they are now.
//!
//! The agent itself does not ask this before it serves: what is wrong here may be right at the next run, and a run says it.

use std::path::PathBuf;

use pillion_repository::source::{RootError, open_without_links};

use super::config::{Config, secret};
use super::engine::exclusion;
use crate::environment::Environment;

/// What was found, a sentence each that begins with the setting's name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What every run would refuse.
    pub problems: Vec<String>,
    /// What a run would miss now, and may be there by then.
    pub warnings: Vec<String>,
}

/// Looks, and changes nothing.
pub fn look(config: &Config, environment: &Environment) -> Findings {
    let mut findings = Findings::default();
    if let Err(unusable) = secret::load(&config.credentials_directory, environment, &config.repository) {
        let told = format!("credentialsDir: {unusable}");
        match unusable.is_absent {
            // Whoever looks at settings seldom has the Secret at hand.
            true => findings.warnings.push(told),
            false => findings.problems.push(told),
        }
    }
    for plan in &config.plans {
        findings.problems.extend(exclusion::of(config, plan, environment).err());
        look_at_sources(&plan.sources, &mut findings);
    }
    findings
}

fn look_at_sources(sources: &[PathBuf], findings: &mut Findings) {
    for source in sources {
        match open_without_links(source.as_os_str().as_encoded_bytes()) {
            Ok(_) => {}
            Err(error @ (RootError::Missing { .. } | RootError::Failed { .. })) => {
                findings.warnings.push(format!("sources: {error}"));
            }
            Err(error) => findings.problems.push(format!("sources: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::raw::Raw;

    #[test]
    fn what_every_run_would_refuse_is_a_problem_and_what_may_come_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().canonicalize().unwrap().join(name);
        std::fs::create_dir(path("source")).unwrap();
        std::fs::write(path("file"), "").unwrap();
        std::fs::write(path("patterns"), "[\n").unwrap();
        std::os::unix::fs::symlink("source", path("link")).unwrap();
        let look_at = |sources: &str, more: &str| {
            let base = path("").display().to_string();
            let yaml = format!("{{repository: /r, schedule: '@daily', sources: [{sources}], {more}}}");
            let raw = Raw::from_yaml(&yaml.replace('~', base.trim_end_matches('/'))).unwrap();
            look(&Config::resolve(raw).unwrap(), &Environment::from_iter([("RESTIC_PASSWORD", "x")]))
        };
        assert_eq!(look_at("~/source, ~/file", ""), Findings::default());
        for (sources, more, problem) in [
            ("~/link", "", "sources: "),
            ("~/source, ~/link/below", "", "sources: "),
            ("~/file/below", "", "sources: "),
            ("~/source", "excludeFile: ~/none", "excludeFile: read patterns from "),
            ("~/source", "excludeFile: ~/patterns", "excludeFile: invalid pattern "),
            ("~/source", "iexcludeFile: ~/patterns", "iexcludeFile: invalid pattern "),
        ] {
            let findings = look_at(sources, more);
            assert_eq!(findings.problems.len(), 1, "{sources} {more}: {findings:?}");
            assert!(findings.problems[0].starts_with(problem), "{sources} {more}: {findings:?}");
        }
        let missing = look_at("~/source, ~/none", "");
        assert_eq!((missing.problems.len(), missing.warnings.len()), (0, 1), "{missing:?}");
        assert!(missing.warnings[0].ends_with("/none does not exist"), "{missing:?}");
    }

    #[test]
    fn credentials_that_are_not_whole_are_a_problem_and_none_at_all_a_warning() {
        let source = std::env::temp_dir().canonicalize().unwrap();
        let yaml = format!(
            "{{repository: 'b2:bucket-1:/', schedule: '@daily', sources: {}, credentialsDir: /nonexistent}}",
            source.display()
        );
        let look_with = |variables: &[(&str, &str)]| {
            let config = Config::resolve(Raw::from_yaml(&yaml).unwrap()).unwrap();
            look(&config, &Environment::from_iter(variables.iter().copied()))
        };
        let missing = "RESTIC_PASSWORD is missing; B2_ACCOUNT_ID is missing; B2_ACCOUNT_KEY is missing";
        let Findings { problems, warnings } = look_with(&[]);
        assert!(problems.is_empty() && warnings.len() == 1, "{problems:?} {warnings:?}");
        assert!(
            warnings[0].starts_with("credentialsDir: ") && warnings[0].ends_with(missing),
            "{warnings:?}"
        );
        let Findings { problems, warnings } = look_with(&[("RESTIC_PASSWORD", "x"), ("B2_ACCOUNT_ID", "y")]);
        assert_eq!(warnings, [""; 0]);
        assert_eq!(problems, ["credentialsDir: credentials of the environment: B2_ACCOUNT_KEY is missing"]);
        let whole = [("RESTIC_PASSWORD", "x"), ("B2_ACCOUNT_ID", "y"), ("B2_ACCOUNT_KEY", "z")];
        assert_eq!(look_with(&whole), Findings::default());
    }
}
