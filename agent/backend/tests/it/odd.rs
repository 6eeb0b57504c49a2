//! Answers that no store should give and something on the way gives all the same, or that are rare and right.
//!
//! A double answers as S3; nothing is tried again.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;

use futures_util::TryStreamExt;
use pillion_backend::open::Options;
use pillion_backend::{Backend, Error, ErrorKind, FileKind, FileName};
use pillion_e2e::proxy::{Fault, Proxy};

use crate::double::Double;
use crate::scene::{open_with, pack};

fn at(url: &str) -> Arc<dyn Backend> {
    let values = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "key")];
    open_with(&format!("s3:{url}/bucket/p"), &values, &Options::default()).unwrap()
}

/// Where every request is answered so.
fn answering(fault: Fault) -> (Proxy, Arc<dyn Backend>) {
    let proxy = Proxy::start("http://127.0.0.1:9");
    proxy.set(move |_| Some(fault.clone()));
    let store = at(&proxy.endpoint());
    (proxy, store)
}

async fn names(store: &dyn Backend) -> Result<Vec<FileName>, Error> {
    store.list(FileKind::Pack).map_ok(|entry| entry.file).try_collect().await
}

fn page(contents: &str, next: &str) -> String {
    format!(
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>\
         {contents}</ListBucketResult>"
    )
}

#[tokio::test]
async fn a_list_that_does_not_advance_is_given_up_and_not_asked_for_again() {
    let (proxy, store) = answering(Fault::answer(200, &page("", "same")));
    let error = names(&*store).await.unwrap_err();
    assert!(
        error.is_permanent() && error.to_string().contains("the store's list does not advance"),
        "{error}"
    );
    assert_eq!(proxy.asked().len(), 2);

    let (proxy, store) = answering(Fault::answer(200, &page("", "")));
    let error = names(&*store).await.unwrap_err();
    assert!(error.is_permanent() && error.to_string().contains("nothing says where"), "{error}");
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
async fn what_a_list_should_have_been_is_told_in_a_few_words() {
    let (_proxy, store) = answering(Fault::answer(200, &"no list ".repeat(300_000)));
    let error = names(&*store).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.to_string().len() < 1_000, "{} bytes", error.to_string().len());
}

#[tokio::test]
async fn a_404_that_is_not_the_stores_is_no_missing_file() {
    for body in ["404 page not found\n", "<html><body><h1>404 page not found</h1></body></html>"] {
        let (proxy, store) = answering(Fault::s3(404, "NoSuchKey"));
        store.remove(&pack('a')).await.unwrap();
        proxy.set(move |_| Some(Fault::answer(404, body)));
        for error in [
            store.stat(&FileName::config()).await.unwrap_err(),
            store.load(&FileName::config(), 1).await.unwrap_err(),
            store.load_range(&pack('a'), 0..1).await.unwrap_err(),
            store.remove(&pack('a')).await.unwrap_err(),
            names(&*store).await.unwrap_err(),
            store.create().await.unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
            let words =
                "404 Not Found: 404 page not found, which is not the store's word for what is missing";
            assert!(error.to_string().ends_with(words), "{error}");
        }
    }
    let (_proxy, store) = answering(Fault::s3(404, "NoSuchKey"));
    assert_eq!(store.stat(&FileName::config()).await.unwrap_err().kind, ErrorKind::NotFound);
    store.remove(&pack('a')).await.unwrap();
}

#[tokio::test]
async fn an_endpoint_where_only_a_stranger_answers_is_not_asked_again() {
    let (_proxy, store) = answering(Fault::answer(404, "404 page not found\n"));
    for error in [
        store.load(&FileName::config(), 1).await.unwrap_err(),
        store.create().await.unwrap_err(),
        names(&*store).await.unwrap_err(),
    ] {
        assert!(error.is_permanent() && error.kind == ErrorKind::Misconfigured, "{error}");
        assert!(error.to_string().contains("; check the endpoint"), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_that_is_away() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = at(&format!("https://{}", listener.local_addr().unwrap()));
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Until the client goes away, or what was written is lost with what was not read.
        std::io::copy(&mut connection, &mut std::io::sink()).unwrap();
    });
    let error = store.load(&FileName::config(), 1).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains("does not speak TLS: write http://"), "{error}");

    let (_proxy, store) = answering(Fault::answer(400, "Client sent an HTTP request to an HTTPS server.\n"));
    let error = store.load(&FileName::config(), 1).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().ends_with("Client sent an HTTP request to an HTTPS server."), "{error}");
}

#[tokio::test]
async fn a_body_in_chunks_is_read_up_to_what_the_caller_takes() {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let whole = format!("{head}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    let cut = format!("{head}3\r\nabc\r\n");
    let part = whole.replace("200 OK\r\n", "206 Partial Content\r\ncontent-range: bytes 1-5/9\r\n");
    let double = Double::start_whole(vec![whole.clone(), whole, cut, part]);
    let store = at(&double.url);
    assert_eq!(store.load(&pack('a'), 5).await.unwrap(), "abcde");
    assert_eq!(store.load(&pack('a'), 4).await.unwrap_err().kind, ErrorKind::TooLarge);
    assert_eq!(store.load(&pack('a'), 5).await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(store.load_range(&pack('a'), 1..6).await.unwrap(), "abcde");
}

#[tokio::test]
async fn a_redirect_is_told_with_the_host_it_leads_to_and_nothing_else() {
    for status in [301, 302, 307, 308] {
        let location = "https://s3.example.com/bucket/p/config?X-Amz-Signature=hunter2";
        let (_proxy, store) = answering(Fault::answer(status, "").with_header("Location", location));
        let error = store.load(&FileName::config(), 1).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
        assert!(error.to_string().contains("it points to https://s3.example.com: "), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_store_that_asks_for_longer_than_anybody_waits_is_quoted() {
    let busy = |wait: &str| Fault::s3(503, "SlowDown").with_header("Retry-After", wait);
    for (wait, wait_seconds, is_told) in [("900", 900, false), ("86400", 900, true)] {
        let (_proxy, store) = answering(busy(wait));
        let error = store.load(&FileName::config(), 1).await.unwrap_err();
        assert_eq!(error.retry_after.unwrap().as_secs(), wait_seconds);
        assert_eq!(
            error.to_string().contains(&format!("it asks to be left alone for {wait} s")),
            is_told,
            "{error}"
        );
    }
}
