//! Connections: how many there may be, and how long each may take over what.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::patience::Patience;

/// At each listener. Who comes later waits in the system's queue.
const MAX_CONNECTIONS: usize = 64;

/// For the head of a request, counted from the connection's or the last answer's end.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer that streams may take long; what is not over by then was forgotten.
const MAX_LIFE: Duration = Duration::from_secs(60 * 60);

/// After an error of `accept`, which is about too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const MAX_HEADERS: usize = 64;
const MAX_HEAD_BYTES: usize = 16 << 10;

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Serves everybody who comes until `stop`; then connections that are idle end, and the others with their answer.
pub(super) async fn accept(listener: Listener, router: Router, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
            let (router, stop) = (router.clone(), stop.clone());
            match &listener {
                Listener::Tcp(listener) => {
                    let (stream, _) = listener.accept().await?;
                    tokio::spawn(async move {
                        serve(stream, router, stop).await;
                        drop(permit);
                    });
                }
                Listener::Unix(listener) => {
                    let (stream, _) = listener.accept().await?;
                    tokio::spawn(async move {
                        serve(stream, router, stop).await;
                        drop(permit);
                    });
                }
            }
            std::io::Result::Ok(())
        };
        tokio::select! {
            () = stop.cancelled() => return,
            accepted = accepted => if accepted.is_err() {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            },
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    stop: CancellationToken,
) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Patience::new(stream)), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let life = tokio::time::sleep(MAX_LIFE);
    // How a stranger's connection ends is nothing to tell.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = life => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(HEAD_TIMEOUT, connection).await;
        }
    }
}
