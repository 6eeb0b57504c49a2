//! What the head of an answer tells of an object, where a store keeps to plain HTTP.

use std::ops::Range;
use std::time::SystemTime;

use reqwest::StatusCode;

use super::{Answer, Download, Failed, Head, UNTOLD_BYTES};
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

/// An answer to a GET for all of an object, or for a range of it.
pub(crate) fn download(response: Response, range: Option<&Range<u64>>) -> Answer<Download> {
    match range {
        None if response.is_chunked() => Ok(Download { size_bytes: UNTOLD_BYTES, response }),
        None => whole(response),
        Some(_) => part(response),
    }
}

pub(crate) fn whole(response: Response) -> Answer<Download> {
    let size_bytes = response.content_length().ok_or_else(untold)?;
    Ok(Download { size_bytes, response })
}

pub(crate) fn part(response: Response) -> Answer<Download> {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Err(Failed::because(ErrorKind::Unsupported, "the store does not load ranges"));
    }
    let range = response.header("content-range");
    let size_bytes = range.and_then(|text| text.rsplit_once('/')?.1.parse().ok()).ok_or_else(untold)?;
    Ok(Download { size_bytes, response })
}

fn untold() -> Failed {
    Failed::because(ErrorKind::Unavailable, "the store did not tell the size")
}
