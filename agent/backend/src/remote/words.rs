//! What a store says, as it may be told to people: one line, of some hundred characters, without tags.
//!
//! The texts are a stranger's: a list may be megabytes of something else, and a proxy's page repeats what it was
//! asked, signature and all.

use std::error::Error as StdError;

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{StatusCode, Url};

use crate::error::chain;

const MAX_REASON_CHARS: usize = 500;
/// Enough for what a page is called.
const MAX_PAGE_CHARS: usize = 100;

/// A reason, unless it is longer than anybody reads or not one line; then what it begins with.
pub(super) fn bounded(why: Box<dyn StdError + Send + Sync>) -> Box<dyn StdError + Send + Sync> {
    let whole = chain(&*why).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    let is_line = !whole.contains(char::is_control);
    match is_line && (whole.len() <= MAX_REASON_CHARS || whole.chars().count() <= MAX_REASON_CHARS) {
        true => why,
        false => cut(whole.chars(), MAX_REASON_CHARS).into(),
    }
}

fn cut(text: impl Iterator<Item = char>, max_chars: usize) -> String {
    let mut text = text.map(|c| if c.is_control() { ' ' } else { c });
    let begin: String = text.by_ref().take(max_chars).collect();
    if text.next().is_some() { format!("{begin}...") } else { begin }
}

/// A refusal in which the vendor's own code is missing: something on the way answers, or there is no body.
pub(crate) fn of_status(status: StatusCode, body: &str) -> String {
    let mut sentence = format!("the store answers {status}");
    if let Some(begin) = beginning(body) {
        sentence.push_str(&format!(": {begin}"));
    }
    if status == StatusCode::NOT_FOUND {
        sentence.push_str(", which is not the store's word for what is missing");
    }
    sentence
}

/// Where a redirect leads that nobody follows: what is signed for one host is not for another.
pub(crate) fn of_redirect(status: StatusCode, headers: &HeaderMap) -> String {
    match pointed_to(headers).filter(|_| status.is_redirection()) {
        Some(place) => format!("; it points to {place}: if the store is there, write the endpoint so"),
        None => String::new(),
    }
}

/// What a body without a form begins with.
fn beginning(body: &str) -> Option<String> {
    let mut text = String::new();
    let mut is_tag = false;
    for c in body.chars() {
        match c {
            '<' => is_tag = true,
            '>' if is_tag => {
                is_tag = false;
                text.push(' ');
            }
            _ if !is_tag => text.push(c),
            _ => {}
        }
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // A page that repeats the request would show its signature.
    let is_request = text.to_ascii_lowercase().contains("sig");
    (!text.is_empty() && !is_request).then(|| cut(text.chars(), MAX_PAGE_CHARS))
}

/// Scheme and host of where a redirect leads, never the rest: that may hold a signature.
fn pointed_to(headers: &HeaderMap) -> Option<String> {
    let url = Url::parse(headers.get(LOCATION)?.to_str().ok()?).ok()?;
    let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"))?;
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    Some(format!("{}://{host}{port}", url.scheme()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_some_hundred_characters() {
        assert_eq!(bounded("short".into()).to_string(), "short");
        assert_eq!(bounded("two\nlines".into()).to_string(), "two lines");
        let long = bounded("ü".repeat(3_000_000).into()).to_string();
        assert_eq!(long, "ü".repeat(MAX_REASON_CHARS) + "...");
    }

    #[test]
    fn a_page_is_told_by_its_first_words_and_never_with_a_signature() {
        let said = |body: &str| of_status(StatusCode::BAD_REQUEST, body);
        assert_eq!(said(""), "the store answers 400 Bad Request");
        let page = "<html>\r\n<head><title>Sent to a TLS port</title></head>\n<body a='b'>why</body></html>";
        assert_eq!(said(page), "the store answers 400 Bad Request: Sent to a TLS port why");
        assert!(said(&"x".repeat(1000)).len() < 200);
        assert!(!said("not found: /c?sv=1&sig=hunter2").contains("hunter2"));
        let foreign = of_status(StatusCode::NOT_FOUND, "404 page not found\n");
        assert!(foreign.ends_with(": 404 page not found, which is not the store's word for what is missing"));
    }

    #[test]
    fn a_redirect_is_told_with_its_host_and_nothing_more() {
        for (location, words) in [
            ("https://s3.example.com/b/config?X-Amz-Signature=hunter2", "points to https://s3.example.com:"),
            ("https://user:hunter2@s3.example.com:8443/b", "points to https://s3.example.com:8443:"),
            ("/hunter2", ""),
            ("file://hunter2/", ""),
        ] {
            let headers = [(LOCATION, location.parse().unwrap())].into_iter().collect();
            let said = of_redirect(StatusCode::TEMPORARY_REDIRECT, &headers);
            assert!(said.contains(words) && said.is_empty() == words.is_empty(), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
