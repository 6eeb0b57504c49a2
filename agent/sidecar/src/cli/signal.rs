//! Signals as one token: the first asks for an orderly stop, the second ends the process at once.
//!
//! SIGHUP is taken and does nothing in a command: `restic unlock` sends it to see whether a lock's owner lives, and its
//! default action would kill a process for being asked. The agent looks at its settings upon it. SIGPIPE is ignored by Rust's runtime; writes fail instead.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::failure::Exit;

/// What the resident process is told by signals.
#[derive(Debug)]
pub struct Signals {
    /// Cancelled by the first SIGINT or SIGTERM.
    pub stop: CancellationToken,
    /// Told by each SIGHUP.
    pub hangup: Arc<Notify>,
}

/// Starts to listen, within a runtime. The token is cancelled by the first SIGINT or SIGTERM.
pub fn listen() -> std::io::Result<CancellationToken> {
    listen_and(|| {})
}

/// Starts to listen, within a runtime, for a process that is to look at its settings when it is told to.
pub fn listen_resident() -> std::io::Result<Signals> {
    // What starts another program in the place of this one undoes what Rust's runtime has settled about this signal, also
    // where that fails. Whoever listens is not killed by it.
    let _taken_for_good = signal(SignalKind::pipe())?;
    let hangup = Arc::new(Notify::new());
    let told = Arc::clone(&hangup);
    let stop = listen_and(move || told.notify_one())?;
    Ok(Signals { stop, hangup })
}

fn listen_and(on_hangup: impl Fn() + Send + 'static) -> std::io::Result<CancellationToken> {
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
                _ = hangup.recv() => {
                    on_hangup();
                    continue;
                }
            }
            if stop.is_cancelled() {
                std::process::exit(Exit::Interrupted as i32);
            }
            stop.cancel();
        }
    });
    Ok(token)
}
