//! One HTTP request. Done is an answer of the two hundreds; a redirect is not followed, since it may lead anywhere.
//!
//! The connection goes to the address that the settings allow: no proxy of the environment, and `localhost` is no question
//! for a resolver. What was answered is never told: whoever chooses the request must not learn through the agent's log what
//! a neighbour says.

use std::net::SocketAddr;

use pillion_backend::tls;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Request, Url};

use crate::VERSION;
use crate::agent::config::hooks::{HttpRequest, Method, Scheme};

/// An answer is read so far, so that who writes it sees it taken.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// The error is a part of a sentence and holds no URL.
pub(super) async fn send(request: &HttpRequest) -> Result<(), String> {
    let mut answer = client(request)?.execute(prepared(request)?).await.map_err(|e| sentence(&e))?;
    let status = answer.status();
    let mut read_bytes = 0;
    while read_bytes < MAX_ANSWER_BYTES {
        match answer.chunk().await.map_err(|e| sentence(&e))? {
            Some(piece) => read_bytes += piece.len(),
            None => break,
        }
    }
    match status {
        status if status.is_success() => Ok(()),
        status if status.is_redirection() => {
            Err(format!("it answered {status}, and a redirect is not followed"))
        }
        status => Err(format!("it answered {status}")),
    }
}

fn client(request: &HttpRequest) -> Result<Client, String> {
    let place = &request.place;
    let loopback = place.loopback();
    let tls = match (&loopback, request.scheme) {
        (None, Scheme::Https) => tls::trusting_authorities(),
        // Nobody vouches for what listens on this machine itself, and nobody is between.
        (Some(_), Scheme::Https) | (_, Scheme::Http) => tls::trusting_anybody(),
    };
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls?)
        .user_agent(format!("pillion/{VERSION}"))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .http1_only();
    if let Some(addresses) = loopback {
        let addresses: Vec<_> = addresses.into_iter().map(|ip| SocketAddr::new(ip, place.port)).collect();
        builder = builder.resolve_to_addrs(&place.host, &addresses);
    }
    builder.build().map_err(|e| sentence(&e))
}

fn prepared(request: &HttpRequest) -> Result<Request, String> {
    let text = |secret: &pillion_backend::secret::Secret| secret.expose_text().unwrap_or_default().to_owned();
    let scheme = request.scheme.to_string().to_ascii_lowercase();
    let url = Url::parse(&format!("{scheme}://{}{}", request.place, text(&request.path)));
    let url = url.map_err(|e| format!("its host and path make no URL: {e}"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let name_of = HeaderName::from_bytes(name.as_bytes());
        let (Ok(header), Ok(mut value)) = (name_of, HeaderValue::from_bytes(value.expose())) else {
            return Err(format!("the header {name} cannot be sent"));
        };
        value.set_sensitive(true);
        headers.append(header, value);
    }
    let (method, body) = match &request.method {
        Method::Get => (reqwest::Method::GET, None),
        Method::Post { body } => (reqwest::Method::POST, Some(body.expose().to_vec())),
    };
    let mut prepared = Request::new(method, url);
    *prepared.headers_mut() = headers;
    *prepared.body_mut() = body.map(Into::into);
    Ok(prepared)
}

/// The innermost reason: the outer ones hold the URL.
fn sentence(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match std::ptr::addr_eq(innermost, error) {
        true => "the request cannot be sent".to_owned(),
        false => innermost.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;

    use pillion_backend::secret::Secret;

    use super::*;
    use crate::agent::config::hooks::Place;

    /// Answers one request, and tells what it was.
    fn answering(answer: &'static [u8]) -> (u16, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, asked) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            let is_whole = |bytes: &[u8]| {
                let text = String::from_utf8_lossy(bytes).to_lowercase();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                body.len() >= length.map_or(0, |length| length.parse::<usize>().unwrap())
            };
            while !is_whole(&request) {
                let count = stream.read(&mut buffer).unwrap();
                request.extend(&buffer[..count]);
            }
            sender.send(String::from_utf8(request).unwrap()).unwrap();
            // Who asked may have gone by then.
            let _gone = stream.write_all(answer);
        });
        (port, asked)
    }

    fn request(port: u16, method: Method) -> HttpRequest {
        HttpRequest {
            method,
            scheme: Scheme::Http,
            place: Place { host: "localhost".to_owned(), port },
            path: Secret::new("/freeze?token=hunter2"),
            headers: vec![("X-Token".to_owned(), Secret::new("hunter2"))],
        }
    }

    #[tokio::test]
    async fn what_the_settings_say_is_sent() {
        let (port, asked) = answering(b"HTTP/1.1 204 No Content\r\n\r\n");
        let body = Secret::new("{\"hold\": true}");
        send(&request(port, Method::Post { body })).await.unwrap();
        let asked = asked.recv().unwrap();
        assert!(asked.starts_with("POST /freeze?token=hunter2 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("\r\nx-token: hunter2\r\n") && asked.ends_with("{\"hold\": true}"), "{asked}");
    }

    #[tokio::test]
    async fn what_is_no_success_fails_and_neither_answer_nor_request_is_told() {
        let elsewhere =
            b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/hunter2\r\ncontent-length: 0\r\n\r\n";
        let sorry = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 7\r\n\r\nhunter2";
        for (answer, told) in [
            (&elsewhere[..], "it answered 302 Found, and a redirect is not followed"),
            (&sorry[..], "it answered 503 Service Unavailable"),
        ] {
            let (port, _asked) = answering(answer);
            assert_eq!(send(&request(port, Method::Get)).await, Err(told.to_owned()));
        }
        for nonsense in [&b"SSH-2.0-x\r\n\r\n"[..], b""] {
            let (port, _asked) = answering(nonsense);
            let why = send(&request(port, Method::Get)).await.unwrap_err();
            assert!(!why.contains("hunter2") && !why.contains("http://"), "{why}");
        }
        let port = {
            let unused = TcpListener::bind("127.0.0.1:0").unwrap();
            unused.local_addr().unwrap().port()
        };
        let why = send(&request(port, Method::Get)).await.unwrap_err();
        assert!(why.contains("refused"), "{why}");
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_read_up_to_a_bound() {
        static ENDLESS: [u8; 256 << 10] = {
            let mut answer = [b'x'; 256 << 10];
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
            let mut at = 0;
            while at < head.len() {
                answer[at] = head[at];
                at += 1;
            }
            answer
        };
        let (port, _asked) = answering(&ENDLESS);
        send(&request(port, Method::Get)).await.unwrap();
    }
}
