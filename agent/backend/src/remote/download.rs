//! What the head of an answer says of an object, where the stores agree: in HTTP's own words.

use reqwest::StatusCode;

use crate::ErrorKind;
use crate::transfer::Response;

use super::{Answer, Download, Failed};

impl Download {
    /// The answer to a request for all of an object.
    pub(crate) fn whole(response: Response) -> Answer<Self> {
        let size_bytes = response.content_length().ok_or_else(untold)?;
        Ok(Self { size_bytes, response })
    }

    /// The answer to a request for a range of an object.
    pub(crate) fn part(response: Response) -> Answer<Self> {
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(Failed::because(ErrorKind::Unsupported, "the store does not load ranges"));
        }
        let range = response.header("content-range");
        let size_bytes = range.and_then(|text| text.rsplit_once('/')?.1.parse().ok()).ok_or_else(untold)?;
        Ok(Self { size_bytes, response })
    }
}

fn untold() -> Failed {
    Failed::because(ErrorKind::Unavailable, "the store did not tell the size")
}
