//! The program whose output is backed up: started, read, and asked how it ended before anything is stored for good.
//!
//! It has our standard error, so a person sees what it says, and no standard input. It is not stopped by us on
//! Ctrl-C at a terminal, where it gets the signal itself as one of the foreground's processes; a SIGTERM sent to us
//! alone is passed on when the reading ends.

use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use pillion_repository::backup::Finish;
use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;

use super::sources::Input;
use crate::allocator;
use crate::cli::failure::Failure;

/// Starts the command. What is returned second waits for its end, and fails if that was no success.
pub(super) fn start(words: &[PathBuf], stop: CancellationToken) -> Result<(Output, Finish), Failure> {
    let (program, arguments) = words.split_first().expect("a command without words was refused");
    let shown = program.display().to_string();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    allocator::unset(&mut command);
    let mut child = command.spawn().map_err(|e| Failure::new(format!("run the command {shown}: {e}")))?;
    let from = child.stdout.take().expect("its standard output was made a pipe");
    let child = Arc::new(Running { child: Mutex::new(child) });
    let output = Output { input: Input { from, stop }, _running: Arc::clone(&child) };
    Ok((output, Box::new(move || child.wait_for_success(&shown))))
}

/// The command's output. When it is dropped before the command was waited for, the command is told to end.
pub(super) struct Output {
    input: Input<ChildStdout>,
    _running: Arc<Running>,
}

impl std::io::Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.input.read(buffer)
    }
}

struct Running {
    child: Mutex<Child>,
}

impl Running {
    fn wait_for_success(&self, shown: &str) -> Result<(), String> {
        let mut child = self.child.lock().expect("no thread panics with it");
        match child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("the command {shown} failed ({status}): nothing was stored")),
            Err(e) => Err(format!("wait for the command {shown}: {e}")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(id) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended in this moment; the wait tells.
            let _ended = kill_process(id, Signal::TERM);
        }
        let _ended = child.wait();
    }
}
