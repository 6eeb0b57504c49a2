//! A connection that is made, and closed again: somebody listens there.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::agent::config::hooks::Place;

/// The error is a part of a sentence.
pub(super) async fn connect(place: &Place) -> Result<(), String> {
    let connected = match place.loopback() {
        Some(addresses) => {
            let addresses: Vec<_> = addresses.into_iter().map(|ip| SocketAddr::new(ip, place.port)).collect();
            TcpStream::connect(&addresses[..]).await
        }
        None => TcpStream::connect((place.host.as_str(), place.port)).await,
    };
    connected.map(drop).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn somebody_listens_there_or_it_fails() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let place = |host: &str| Place { host: host.to_owned(), port };
        for host in ["localhost", "127.0.0.1"] {
            assert_eq!(connect(&place(host)).await, Ok(()), "{host}");
        }
        drop(listener);
        assert!(connect(&place("127.0.0.1")).await.unwrap_err().contains("refused"));
    }
}
