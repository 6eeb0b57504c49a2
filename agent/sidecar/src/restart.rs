//! The second start of what stays: the same process in its own place, without the environment it was started with.
//!
//! `/proc/PID/environ` shows for as long as a process lives what it was started with, and an agent is given credentials
//! that way. So it starts itself again, with the few variables that libraries read on their own and the allocator's
//! settings, and hands the others over in a file that is in memory only: sealed, so that its size says what it is, in the
//! place of standard input, which an agent does not read, and overwritten and closed as soon as it was read.
//!
//! **Invariant:** it happens once (`what_was_handed_over_is_taken_once_and_leaves_nothing`), and where it cannot, as where
//! `/proc` is not mounted, the agent goes on with what it has and says so.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Result, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::allocator;
use crate::environment::Environment;

/// Paths and switches, read by the loader, by Rust's runtime and where certificates are looked for. None is a secret.
const KEPT: [&str; 6] =
    ["LD_LIBRARY_PATH", "LD_PRELOAD", "RUST_BACKTRACE", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR"];

const HEADER: &[u8] = b"pillion environment 1\0";

/// Of a size that nobody changes, for good. Writing stays allowed: it is overwritten after it was read.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// The environment of a process that stays. Where the process is only at its first start, this does not return: it
/// starts again, or if that is not possible, the environment says that others can read it, and why.
pub fn environment() -> Environment {
    if is_sealed() {
        // Whatever is in there: a third start would find the same.
        return match take(std::io::stdin()) {
            Ok(Some(environment)) => environment,
            Ok(None) => Environment::of_process().readable_by_others("standard input is a sealed file"),
            Err(e) => {
                Environment::of_process().readable_by_others(&format!("read what was handed over: {e}"))
            }
        };
    }
    let environment = Environment::of_process();
    let why = start_again(&environment);
    environment.readable_by_others(&why)
}

fn is_sealed() -> bool {
    rustix::fs::fcntl_get_seals(std::io::stdin()).is_ok_and(|seals| seals.contains(SEALS))
}

/// Returns only if it failed, and why.
fn start_again(environment: &Environment) -> String {
    let mut arguments = env::args_os();
    let program = match env::current_exe() {
        Ok(program) => program,
        Err(e) => return format!("find the own program: {e}"),
    };
    if allocator::is_loader(&program) {
        return "the program was started through the loader".to_owned();
    }
    let Some(name) = arguments.next() else { return "there is no name to start with".to_owned() };
    let saved = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3);
    let mut command = Command::new(program);
    if let Err(e) = saved.as_ref().map_err(|e| (*e).into()).and_then(|_| hand_over(&mut command, environment))
    {
        return format!("keep the environment in memory: {e}");
    }
    command.arg0(name).args(arguments);
    let failed = command.exec();
    // A failed start has taken the place of standard input already.
    if let Ok(saved) = saved {
        let _it_is_not_read = rustix::stdio::dup2_stdin(saved);
    }
    format!("start again: {failed}")
}

/// Makes a program of ours that is to be started take that environment, which nobody can read in what the system shows of it.
pub fn hand_over(command: &mut Command, environment: &Environment) -> Result<()> {
    let handed = pack(environment)?;
    let kept = KEPT.iter().filter_map(|name| Some((OsString::from(name), env::var_os(name)?)));
    command.env_clear().envs(kept).stdin(Stdio::from(handed));
    allocator::settle(command);
    Ok(())
}

/// The variables in a sealed file of memory, to be read from its beginning.
fn pack(environment: &Environment) -> Result<File> {
    let create = |flags| rustix::fs::memfd_create("environment", flags);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let created = match create(flags | MemfdFlags::NOEXEC_SEAL) {
        // Not known before Linux 6.3; later ones can be told to refuse a file without it.
        Err(Errno::INVAL) => create(flags),
        created => created,
    };
    let mut file = File::from(created?);
    let mut text = Zeroizing::new(Vec::with_capacity(HEADER.len() + environment.size_bytes()));
    text.extend_from_slice(HEADER);
    for (name, value) in environment.variables() {
        for part in [name.as_bytes(), b"=", value, b"\0"] {
            text.extend_from_slice(part);
        }
    }
    file.write_all(&text)?;
    file.rewind()?;
    rustix::fs::fcntl_add_seals(&file, SEALS)?;
    Ok(file)
}

/// Takes what was handed over out of a file and leaves zeros in it; puts an input that has ended in its place. `None` where
/// it is no such file.
fn take(standard_input: impl std::os::fd::AsFd) -> Result<Option<Environment>> {
    let mut file = File::from(rustix::io::fcntl_dupfd_cloexec(standard_input, 3)?);
    let Some(environment) = unpack(&mut file)? else { return Ok(None) };
    let (ended, _): (OwnedFd, _) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::stdio::dup2_stdin(ended)?;
    Ok(Some(environment))
}

fn unpack(file: &mut File) -> Result<Option<Environment>> {
    let size_bytes = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    // One more than there is, so that it does not grow and leave a copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(size_bytes + 1));
    file.read_to_end(&mut text)?;
    let Some(variables) = text.strip_prefix(HEADER) else { return Ok(None) };
    let is_variable = |text: &&[u8]| !text.is_empty();
    let environment = variables.split(|byte| *byte == 0).filter(is_variable).map(|variable| {
        // As in the C library, a name may begin with the sign.
        let end = variable.iter().skip(1).position(|byte| *byte == b'=').map_or(variable.len(), |at| at + 1);
        let (name, value) = variable.split_at(end);
        (OsStr::from_bytes(name), OsString::from_vec(value.get(1..).unwrap_or_default().to_vec()))
    });
    let environment = environment.collect();
    file.rewind()?;
    file.write_all(&vec![0; size_bytes])?;
    Ok(Some(environment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_over_is_taken_once_and_leaves_nothing() {
        let odd = OsString::from_vec(b"\xff=\n\x01".to_vec());
        let given = [
            ("RESTIC_PASSWORD", OsString::from("hunter2")),
            ("EMPTY", OsString::new()),
            ("=ODD", odd.clone()),
        ];
        let environment = Environment::from_iter(given);
        let mut file = pack(&environment).unwrap();
        assert!(rustix::fs::fcntl_get_seals(&file).unwrap().contains(SEALS));
        let taken = unpack(&mut file).unwrap().unwrap();
        assert_eq!(taken.raw("RESTIC_PASSWORD"), Some(OsStr::new("hunter2")));
        assert_eq!(taken.raw("=ODD"), Some(odd.as_os_str()));
        assert_eq!(taken.variables().count(), 3);
        assert_eq!(taken.exposed(), None);

        file.rewind().unwrap();
        let mut left = Vec::new();
        file.read_to_end(&mut left).unwrap();
        assert!(!left.is_empty() && left.iter().all(|byte| *byte == 0));
        file.rewind().unwrap();
        assert!(unpack(&mut file).unwrap().is_none());
        assert!(file.set_len(1).is_err() && file.set_len(1 << 20).is_err());
    }
}
