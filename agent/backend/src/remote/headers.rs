//! What is said of a range or a body in the head of a request, where a store keeps to plain HTTP.

use std::ops::Range;

use data_encoding::BASE64;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, RANGE};

use super::PutMode;
use crate::transfer::Upload;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// Of a request for all of an object, or for a range of it that is not empty.
pub(crate) fn of_range(range: Option<&Range<u64>>) -> HeaderMap {
    let value = range.map(|range| plain(&format!("bytes={}-{}", range.start, range.end - 1)));
    value.into_iter().map(|value| (RANGE, value)).collect()
}

/// Of a request that stores.
pub(crate) fn of_body(upload: &Upload, mode: PutMode) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(md5) = upload.md5 {
        // Buckets with object lock take nothing without it.
        headers.insert(CONTENT_MD5, plain(&BASE64.encode(&md5)));
    }
    if mode == PutMode::Create {
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
    }
    headers
}

fn plain(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("digits and the letters of base64 are no control characters")
}
