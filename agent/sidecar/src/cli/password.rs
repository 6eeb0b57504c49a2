//! The password, from where restic takes it: command, file, variable, and if there is none of these, a person.
//!
//! An empty password is refused everywhere unless `--insecure-no-password` asks for it. The buffers it passes
//! through are overwritten; it is never an argument, never logged, never in an error.

use std::io::{BufRead, IsTerminal, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::failure::Failure;
use super::global::Options;
use crate::allocator;
use crate::environment::Environment;
use pillion_backend::secret::Secret;

/// A file larger than this holds no password and no location.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// How often a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    Once,
    /// For a new repository: a slip would lock its maker out.
    Twice,
}

/// The password of the repository.
pub fn read(options: &Options, environment: &Environment, prompt: Prompt) -> Result<Secret, Failure> {
    let given = from_settings(options, environment)?;
    match (given, options.insecure_no_password) {
        (Some(_), true) => {
            Err(Failure::new("--insecure-no-password is set, and a password is given too: keep one"))
        }
        (None, true) => Ok(Secret::new("")),
        (Some(password), false) => refuse_empty(password),
        (None, false) => ask(prompt).and_then(refuse_empty),
    }
}

/// Whether the password would have to come from where a command may be about to read its data.
pub fn comes_from_stdin(options: &Options, environment: &Environment) -> bool {
    let names = ["RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND"];
    !options.insecure_no_password
        && options.password_command.is_none()
        && options.password_file.is_none()
        && names.iter().all(|name| environment.raw(name).is_none())
}

/// What was given without asking anybody. An empty variable counts as not given.
fn from_settings(options: &Options, environment: &Environment) -> Result<Option<Secret>, Failure> {
    let command = options.password_command.clone().or_else(|| environment.text("RESTIC_PASSWORD_COMMAND"));
    let file = options.password_file.clone().or_else(|| environment.path("RESTIC_PASSWORD_FILE"));
    match (command, file) {
        (Some(_), Some(_)) => {
            Err(Failure::new("a password file and a password command are both set: keep one"))
        }
        (Some(command), None) => from_command(&command).map(Some),
        (None, Some(file)) => Ok(Some(trimmed(&read_text_file(&file)?))),
        (None, None) => Ok(environment.secret("RESTIC_PASSWORD")),
    }
}

fn refuse_empty(password: Secret) -> Result<Secret, Failure> {
    if password.is_empty() {
        return Err(Failure::new("no password was given, or an empty one").hint(
            "set RESTIC_PASSWORD, give --password-file, or --insecure-no-password if the repository has none",
        ));
    }
    Ok(password)
}

fn from_command(command: &str) -> Result<Secret, Failure> {
    let words =
        split_words(command).map_err(|problem| Failure::new(format!("the password command: {problem}")))?;
    let (program, arguments) =
        words.split_first().ok_or_else(|| Failure::new("the password command is empty"))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::inherit()).stderr(Stdio::inherit());
    allocator::unset(&mut command);
    let output =
        command.output().map_err(|e| Failure::new(format!("run the password command {program:?}: {e}")))?;
    let printed = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(Failure::new(format!("the password command {program:?} failed: {}", output.status)));
    }
    Ok(trimmed(&printed))
}

/// Words as a shell would split them, with single and double quotes and backslashes and nothing else.
fn split_words(command: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = command.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => {
                let next = characters.next().ok_or("ends in a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

/// A small text file, decoded from UTF-16 where it begins with that mark: Windows' editors write such.
pub(super) fn read_text_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("read {}: {e}", path.display()));
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Failure::new(format!("read {}: more than {MAX_FILE_BYTES} bytes", path.display())));
    }
    let units = |from_bytes: fn([u8; 2]) -> u16| {
        let units = bytes[2..].as_chunks::<2>().0.iter().map(|pair| from_bytes(*pair));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>()
    };
    Ok(Zeroizing::new(match &bytes[..] {
        [0xff, 0xfe, ..] => units(u16::from_le_bytes).into_bytes(),
        [0xfe, 0xff, ..] => units(u16::from_be_bytes).into_bytes(),
        [0xef, 0xbb, 0xbf, rest @ ..] => rest.to_vec(),
        _ => return Ok(bytes),
    }))
}

fn trimmed(bytes: &[u8]) -> Secret {
    Secret::new(bytes.trim_ascii())
}

fn ask(prompt: Prompt) -> Result<Secret, Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("read the password: {e}"));
    if !std::io::stdin().is_terminal() {
        let mut line = Zeroizing::new(Vec::with_capacity(4096));
        std::io::stdin().lock().take(MAX_FILE_BYTES).read_until(b'\n', &mut line).map_err(failed)?;
        return Ok(trimmed(&line));
    }
    let question = match prompt {
        Prompt::Once => "enter password for repository: ",
        Prompt::Twice => "enter password for new repository: ",
    };
    let first = Zeroizing::new(rpassword::prompt_password(question).map_err(failed)?);
    if prompt == Prompt::Twice {
        let second = Zeroizing::new(rpassword::prompt_password("enter password again: ").map_err(failed)?);
        if first != second {
            return Err(Failure::new("the passwords do not match"));
        }
    }
    Ok(Secret::new(first.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_with(options: &Options, variables: &[(&str, &str)]) -> Result<Vec<u8>, String> {
        let environment = Environment::from_iter(variables.iter().copied());
        let password = read(options, &environment, Prompt::Once);
        password.map(|password| password.expose().to_vec()).map_err(|failure| failure.message)
    }

    #[test]
    fn the_command_comes_before_the_variable_and_the_file_too() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, "\u{feff} from file \n").unwrap();
        let with_file = Options { password_file: Some(file.clone()), ..Options::default() };
        let with_command =
            Options { password_command: Some("printf '%s\\n' \"a b\"".into()), ..Options::default() };
        let variable = [("RESTIC_PASSWORD", "from variable")];
        assert_eq!(read_with(&Options::default(), &variable).unwrap(), b"from variable");
        assert_eq!(read_with(&with_file, &variable).unwrap(), b"from file");
        assert_eq!(read_with(&with_command, &variable).unwrap(), b"a b");
        let both = [("RESTIC_PASSWORD_FILE", file.to_str().unwrap())];
        assert!(read_with(&with_command, &both).unwrap_err().contains("both set"));
        assert_eq!(read_with(&Options::default(), &both).unwrap(), b"from file");
    }

    #[test]
    fn an_empty_password_needs_its_flag_and_the_flag_needs_an_empty_password() {
        let insecure = Options { insecure_no_password: true, ..Options::default() };
        assert_eq!(read_with(&insecure, &[]).unwrap(), b"");
        assert!(read_with(&insecure, &[("RESTIC_PASSWORD", "x")]).unwrap_err().contains("keep one"));
        let empty = Options { password_command: Some("true".into()), ..Options::default() };
        assert!(read_with(&empty, &[]).unwrap_err().contains("empty"));
        let failing = Options { password_command: Some("false".into()), ..Options::default() };
        assert!(read_with(&failing, &[]).unwrap_err().contains("failed"));
    }

    #[test]
    fn a_password_of_utf_16_is_decoded() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        for (bytes, text) in [
            (&b"\xff\xfep\0\xfc\0\n\0"[..], "p\u{fc}"),
            (b"\xfe\xff\0p\0\xfc", "p\u{fc}"),
            (b"p\xff", "p\u{ff}"),
        ] {
            std::fs::write(&file, bytes).unwrap();
            let options = Options { password_file: Some(file.clone()), ..Options::default() };
            let expected = if bytes == b"p\xff" { b"p\xff".to_vec() } else { text.as_bytes().to_vec() };
            assert_eq!(read_with(&options, &[]).unwrap(), expected);
        }
    }

    #[test]
    fn a_command_is_split_as_a_shell_splits_it() {
        assert_eq!(
            split_words(r#"a "b c" 'd "e' f\ g """#),
            Ok(vec!["a".into(), "b c".into(), "d \"e".into(), "f g".into(), String::new()])
        );
        assert!(split_words("a 'b").is_err() && split_words("a\\").is_err());
    }
}
