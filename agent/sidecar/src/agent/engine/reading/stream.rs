//! What a reading sends: from its thread, through a channel of a few pieces, to a connection that may be slow.
//!
//! Whoever sends waits for whoever receives, and neither waits for ever. An end that is not [`Writer::finish`]ed is told
//! as an error, so that half a file is never taken for a whole one.

use std::io::{Error, ErrorKind, Result, Write};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

const PIECE_BYTES: usize = 64 << 10;

/// On their way, beside the one that grows.
const MAX_PIECES: usize = 2;

/// Nobody takes a piece for so long: who asked has gone to sleep.
const MAX_SEND: Duration = Duration::from_secs(60);

/// The store gives nothing for so long. Its own tries go on for longer, but somebody waits here.
pub(super) const MAX_SILENCE: Duration = Duration::from_secs(60);

enum Piece {
    Bytes(Bytes),
    End,
}

/// The sending end.
pub(super) struct Writer {
    runtime: Handle,
    cancel: CancellationToken,
    pieces: mpsc::Sender<Piece>,
    growing: Vec<u8>,
    has_sent: bool,
}

/// The receiving end. When it is dropped the reading ends.
#[derive(Debug)]
pub struct Body {
    pieces: mpsc::Receiver<Piece>,
    _end: DropGuard,
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::End => f.write_str("the end"),
        }
    }
}

pub(super) fn channel(runtime: &Handle, cancel: &CancellationToken) -> (Writer, Body) {
    let (sender, receiver) = mpsc::channel(MAX_PIECES);
    let (runtime, growing) = (runtime.clone(), Vec::new());
    let writer = Writer { runtime, cancel: cancel.clone(), pieces: sender, growing, has_sent: false };
    (writer, Body { pieces: receiver, _end: cancel.clone().drop_guard() })
}

impl Writer {
    fn send(&self, piece: Piece) -> Result<()> {
        let gone = || Error::from(ErrorKind::BrokenPipe);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => Err(gone()),
                sent = tokio::time::timeout(MAX_SEND, self.pieces.send(piece)) => match sent {
                    Ok(sent) => sent.map_err(|_| gone()),
                    Err(_) => Err(ErrorKind::TimedOut.into()),
                },
            }
        })
    }

    fn send_grown(&mut self) -> Result<()> {
        match std::mem::take(&mut self.growing) {
            nothing if nothing.is_empty() => Ok(()),
            grown => {
                self.has_sent = true;
                self.send(Piece::Bytes(grown.into()))
            }
        }
    }

    /// Whether somebody has to take what comes: a few pieces find their place before.
    pub(super) fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// Everything was written.
    pub(super) fn finish(mut self) -> Result<()> {
        self.send_grown()?;
        self.send(Piece::End)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.growing.capacity() == 0 {
            self.growing.reserve_exact(PIECE_BYTES);
        }
        let taken = bytes.len().min(PIECE_BYTES - self.growing.len());
        self.growing.extend_from_slice(&bytes[..taken]);
        if self.growing.len() == PIECE_BYTES {
            self.send_grown()?;
        }
        Ok(taken)
    }

    /// Pieces go when they are full: nobody is served by smaller ones.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Body {
    /// The pieces, and an error in the place of an end that came too early.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send {
        stream::unfold(Some(self), |body| async move {
            let mut body = body?;
            match tokio::time::timeout(MAX_SILENCE, body.pieces.recv()).await {
                Ok(Some(Piece::Bytes(bytes))) => Some((Ok(bytes), Some(body))),
                Ok(Some(Piece::End)) => None,
                Ok(None) => Some((Err(Error::other("the reading failed")), None)),
                Err(_) => Some((Err(ErrorKind::TimedOut.into()), None)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    /// What is received of what `write` sends from a thread of its own.
    fn received(write: impl FnOnce(Writer) -> Result<()> + Send + 'static) -> Vec<Result<Bytes>> {
        let runtime = crate::cli::session::runtime().unwrap();
        let (writer, body) = channel(runtime.handle(), &CancellationToken::new());
        let thread = std::thread::spawn(move || write(writer));
        let pieces = runtime.block_on(body.into_stream().collect());
        thread.join().unwrap().unwrap();
        pieces
    }

    #[test]
    fn what_is_written_comes_in_pieces_and_has_an_end() {
        let pieces = received(|mut writer| {
            writer.write_all(&[7; 3 * PIECE_BYTES + 1])?;
            writer.finish()
        });
        let sizes: Vec<usize> = pieces.into_iter().map(|piece| piece.unwrap().len()).collect();
        assert_eq!(sizes, [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 1]);
        assert!(received(Writer::finish).is_empty());
    }

    #[test]
    fn half_of_it_is_no_end() {
        let pieces = received(|mut writer| writer.write_all(&[7; PIECE_BYTES + 1]));
        assert!(matches!(&pieces[..], [Ok(_), Err(_)]), "{pieces:?}");
    }

    #[test]
    fn who_writes_ends_when_nobody_reads_any_more() {
        let runtime = crate::cli::session::runtime().unwrap();
        let cancel = CancellationToken::new();
        let (mut writer, body) = channel(runtime.handle(), &cancel);
        drop(body);
        assert!(cancel.is_cancelled(), "a call to the store ends too");
        assert!(writer.write_all(&[7; PIECE_BYTES]).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn neither_end_waits_for_ever() {
        let (_writer, body) = channel(&Handle::current(), &CancellationToken::new());
        let pieces: Vec<_> = body.into_stream().collect().await;
        assert!(matches!(&pieces[..], [Err(error)] if error.kind() == ErrorKind::TimedOut), "{pieces:?}");
    }
}
