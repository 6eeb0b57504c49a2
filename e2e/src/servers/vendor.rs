//! The way of clients that know no address but the vendor's host names: an HTTP proxy that leads each of them to one
//! server, whatever name and port they ask for. So no port 443, no hosts file and no root is needed.
//!
//! Where the server itself is plain, the proxy ends the TLS that those clients insist on.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::certificate::Certificate;
use super::http::runtime;

const REQUEST_BYTES_MAX: usize = 8192;

pub(super) struct Proxy {
    port: u16,
    task: AbortHandle,
}

#[derive(Clone)]
struct Route {
    /// Of the server, on 127.0.0.1.
    port: u16,
    tls: Option<TlsAcceptor>,
}

impl Proxy {
    /// Leads to a server that has this certificate itself.
    pub(super) fn to_tls(port: u16) -> Self {
        Self::start(Route { port, tls: None })
    }

    pub(super) fn to_plain(port: u16, certificate: &Certificate) -> Self {
        let leaf = CertificateDer::from_pem_file(&certificate.leaf).expect("the certificate is PEM");
        let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("the key is PEM");
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![leaf], key);
        let config = config.expect("the key is the certificate's");
        Self::start(Route { port, tls: Some(TlsAcceptor::from(Arc::new(config))) })
    }

    fn start(route: Route) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("listen on 127.0.0.1");
        listener.set_nonblocking(true).expect("a socket may be non-blocking");
        let port = listener.local_addr().expect("it is bound").port();
        let task = runtime().spawn(async move {
            let listener = TcpListener::from_std(listener).expect("the runtime is on");
            while let Ok((client, _)) = listener.accept().await {
                let route = route.clone();
                // A broken connection is its two ends' business.
                tokio::spawn(async move { route.serve(client).await.ok() });
            }
        });
        Self { port, task: task.abort_handle() }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Proxy").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Route {
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if request.len() == REQUEST_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            request.push(client.read_u8().await?);
        }
        if !request.starts_with(b"CONNECT ") {
            return client.write_all(b"HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\n\r\n").await;
        }
        let mut server = TcpStream::connect(("127.0.0.1", self.port)).await?;
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        // Two hops are not to add the wait of small packets for one another.
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        match &self.tls {
            None => copy_bidirectional(&mut client, &mut server).await?,
            Some(tls) => copy_bidirectional(&mut tls.accept(client).await?, &mut server).await?,
        };
        Ok(())
    }
}
