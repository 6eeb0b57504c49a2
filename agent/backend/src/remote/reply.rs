//! What the head of an answer tells of an object, where a store keeps to plain HTTP.

use std::time::SystemTime;

use reqwest::StatusCode;

use super::{Answer, Download, Failed, Head};
use crate::ErrorKind;
use crate::transfer::Response;

/// An answer to HEAD.
pub(crate) fn head(response: &Response) -> Answer<Head> {
    let size_bytes = response.content_length().ok_or_else(untold)?;
    Ok(Head { size_bytes, modified: modified(response) })
}

pub(crate) fn modified(response: &Response) -> Option<SystemTime> {
    httpdate::parse_http_date(response.header("last-modified")?).ok()
}

/// An answer to a GET, with the size of the whole object.
pub(crate) fn download(response: Response, is_range: bool) -> Answer<Download> {
    let size_bytes = match (is_range, response.status()) {
        (true, StatusCode::PARTIAL_CONTENT) => {
            response.header("content-range").and_then(|text| text.rsplit_once('/')?.1.parse().ok())
        }
        (true, _) => return Err(Failed::because(ErrorKind::Unsupported, "the store does not load ranges")),
        (false, _) => response.content_length(),
    };
    Ok(Download { size_bytes: size_bytes.ok_or_else(untold)?, response })
}

fn untold() -> Failed {
    Failed::because(ErrorKind::Unavailable, "the store did not tell the size")
}
