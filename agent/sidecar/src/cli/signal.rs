//! Signals as one token: the first asks for an orderly stop, the second ends the process at once.
//!
//! SIGHUP is taken and does nothing: `restic unlock` sends it to see whether a lock's owner lives, and its default
//! action would kill a process for being asked. SIGPIPE is ignored by Rust's runtime; writes fail instead.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failure::Exit;

/// Starts to listen, within a runtime. The token is cancelled by the first SIGINT or SIGTERM.
pub fn listen() -> std::io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    // Lives as long as the runtime, which ends with the command.
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => continue,
            }
            if stop.is_cancelled() {
                std::process::exit(Exit::Interrupted as i32);
            }
            stop.cancel();
        }
    });
    Ok(token)
}
