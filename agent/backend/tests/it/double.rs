//! A store that answers what a test says, in that order, and keeps what it was asked: for what no real server can be
//! made to do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub(crate) struct Double {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `POST /path?query`
    pub(crate) line: String,
    /// Each with its name in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Double {
    /// Answers each request with the next status and body. `URL` in a body is the double's own.
    pub(crate) fn start(answers: Vec<(u16, String)>) -> Self {
        Self::start_with(answers, |(status, body), own_url| whole(status, &body.replace("URL", own_url)))
    }

    /// Answers each request with the next text, head and all.
    pub(crate) fn start_whole(answers: Vec<String>) -> Self {
        Self::start_with(answers, |answer, _| answer)
    }

    fn start_with<T: Send + 'static>(answers: Vec<T>, whole: fn(T, &str) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (own_url, kept) = (url.clone(), Arc::clone(&asked));
        std::thread::spawn(move || {
            for answer in answers {
                let (connection, _) = listener.accept().unwrap();
                serve(connection, &whole(answer, &own_url), &kept);
            }
        });
        Self { url, asked }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// An answer of which a code in the body is in the head too, as Azure has it.
fn whole(status: u16, body: &str) -> String {
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map_or(String::new(), |(code, _)| format!("x-ms-error-code: {code}\r\n"));
    format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{code}content-length: {}\r\n\r\n{body}", body.len())
}

/// One request to a connection: the client is told that there is no other.
fn serve(mut connection: TcpStream, answer: &str, asked: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let (mut line, mut header, mut headers) = (String::new(), String::new(), Vec::new());
    reader.read_line(&mut line).unwrap();
    while reader.read_line(&mut header).unwrap() > 2 {
        let (name, value) = header.split_once(':').unwrap();
        headers.push((name.to_lowercase(), value.trim().to_owned()));
        header.clear();
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let size_bytes = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; size_bytes];
    reader.read_exact(&mut body).unwrap();
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let is_head = line.starts_with("HEAD ");
    asked.lock().unwrap().push(Asked { line, headers, body: String::from_utf8_lossy(&body).into_owned() });
    let head_bytes = answer.find("\r\n\r\n").unwrap() + 4;
    let answer = if is_head { &answer[..head_bytes] } else { answer };
    connection.write_all(answer.as_bytes()).unwrap();
}
