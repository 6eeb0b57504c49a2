//! A command line that cannot be understood, told like every other failure: one line, a hint, exit code 1.
//!
//! The words are clap's; its summary of the usage, which scrolls the error away, is left to `pillion help`.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::failure::{Exit, Failure};
use super::output::Style;

/// What restic can do to a repository and this program cannot.
const RESTIC_ONLY: [&str; 15] = [
    "cat",
    "copy",
    "forget",
    "key",
    "list",
    "migrate",
    "mount",
    "prune",
    "rebuild-index",
    "recover",
    "repair",
    "rewrite",
    "self-update",
    "tag",
    "cache",
];

const HELP: &str = "`pillion help` lists the commands, `pillion help COMMAND` the options of one";

/// Prints what clap has to say: the help that was asked for, or what is wrong.
pub(super) fn tell(error: &clap::Error) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody is there to read it.
            let _ = error.print();
            Exit::Done
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Exit::Failed
        }
        _ => {
            let is_json = std::env::args_os().any(|argument| argument == "--json");
            super::tell(&failure(error), if is_json { Style::Json } else { Style::Text })
        }
    }
}

fn failure(error: &clap::Error) -> Failure {
    if let Some(ContextValue::String(verb)) = error.get(ContextKind::InvalidSubcommand)
        && RESTIC_ONLY.contains(&verb.as_str())
    {
        return Failure::new(format!("there is no command {verb:?}"))
            .hint(format!("stock `restic {verb}` does it, on the same repository"));
    }
    let text = error.render().to_string();
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let (tips, words): (Vec<&str>, Vec<&str>) = said.into_iter().partition(|line| line.starts_with("tip: "));
    let words = words.join(" ");
    let hint = tips.first().map_or(HELP, |tip| tip.trim_start_matches("tip: "));
    Failure::new(words.trim_start_matches("error: ")).hint(hint)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn told(line: &str) -> (String, String) {
        let failure = failure(&Cli::try_parse_from(line.split(' ')).unwrap_err());
        assert!(!failure.text().trim_end().contains("\n\n"), "{}", failure.text());
        assert_eq!(failure.text().lines().count(), 2, "{}", failure.text());
        (failure.message, failure.hint.unwrap())
    }

    #[test]
    fn what_is_wrong_with_a_command_line_is_one_line_and_a_hint() {
        let (message, hint) = told("pillion restore latest");
        assert!(message.contains("required") && message.contains("--target <DIRECTORY>"), "{message}");
        assert_eq!(hint, HELP);
        assert!(told("pillion backup --tim x").1.contains("'--time'"));
        assert!(told("pillion backup --time bad x").0.contains("\"bad\" is no time"));
        assert!(told("pillion snapshot").1.contains("'snapshots'"));
        let (message, hint) = told("pillion forget --keep-last 1");
        assert_eq!(message, "there is no command \"forget\"");
        assert!(hint.contains("`restic forget`"), "{hint}");
    }
}
