//! The answer to List Blobs.

use std::time::SystemTime;

use percent_encoding::percent_decode_str;
use quick_xml::de;
use serde::Deserialize;

use crate::ErrorKind;
use crate::remote::{Answer, Failed, Head, Page};

/// Both are always there, so that the page of something else on the way is not taken for an empty list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EnumerationResults {
    blobs: Blobs,
    next_marker: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blobs {
    #[serde(default)]
    blob: Vec<Blob>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: Name,
    properties: Properties,
}

#[derive(Debug, Deserialize)]
struct Name {
    /// Of a name with characters that XML cannot have.
    #[serde(rename = "@Encoded", default)]
    is_encoded: bool,
    #[serde(rename = "$text", default)]
    text: String,
}

#[derive(Debug, Deserialize)]
struct Properties {
    #[serde(rename = "Content-Length")]
    content_length: u64,
    #[serde(rename = "Last-Modified", default)]
    last_modified: Option<String>,
}

impl Name {
    fn decode(self) -> String {
        match self.is_encoded {
            true => percent_decode_str(&self.text).decode_utf8_lossy().into_owned(),
            false => self.text,
        }
    }
}

/// A page may be empty and not the last: only the marker says so.
pub(super) fn page(text: &str) -> Answer<Page> {
    let results: EnumerationResults = de::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|e| Failed::because(ErrorKind::Unavailable, format!("a list that is none: {e}")))?;
    let objects = results.blobs.blob.into_iter().map(|blob| {
        let modified = blob.properties.last_modified.as_deref().and_then(time);
        (blob.name.decode(), Head { size_bytes: blob.properties.content_length, modified })
    });
    let next = Some(results.next_marker).filter(|marker| !marker.is_empty());
    Ok(Page { objects: objects.collect(), next })
}

fn time(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\
        <EnumerationResults ServiceEndpoint=\"https://a.blob.core.windows.net/\" ContainerName=\"c\">\
        <Prefix>p</Prefix><MaxResults>5000</MaxResults><Blobs>\
        <Blob><Name> p &lt;q&gt;/config</Name><Properties><Creation-Time>x</Creation-Time>\
        <Last-Modified>Thu, 01 Jan 1970 00:00:01 GMT</Last-Modified><Etag>0x8</Etag>\
        <Content-Length>7</Content-Length><Content-MD5 /><BlobType>BlockBlob</BlobType></Properties>\
        <OrMetadata /></Blob>\
        <Blob><Name Encoded=\"true\">p%EF%BF%BE/config</Name><Properties>\
        <Content-Length>0</Content-Length></Properties></Blob>\
        </Blobs><NextMarker>2!92!MDAw&amp;-</NextMarker></EnumerationResults>";

    #[test]
    fn a_page_is_read_to_the_letter_and_its_marker_alone_says_whether_it_is_the_last() {
        let read = page(PAGE).unwrap();
        assert_eq!(read.next.as_deref(), Some("2!92!MDAw&-"));
        let names: Vec<_> =
            read.objects.iter().map(|(name, head)| (name.as_str(), head.size_bytes)).collect();
        assert_eq!(names, [(" p <q>/config", 7), ("p\u{fffe}/config", 0)]);
        let second = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        assert_eq!(read.objects[0].1.modified, Some(second));
        assert_eq!(read.objects[1].1.modified, None);
        for (end, next) in [("<NextMarker />", None), ("<NextMarker>n</NextMarker>", Some("n"))] {
            let empty = page(&format!("<EnumerationResults><Blobs />{end}</EnumerationResults>")).unwrap();
            assert!(empty.objects.is_empty() && empty.next.as_deref() == next);
        }
    }

    #[test]
    fn what_breaks_off_or_is_no_list_is_no_end_of_one() {
        assert!(page(&PAGE[..PAGE.len() - 10]).is_err());
        assert!(page("<html></html>").is_err() && page("").is_err());
        assert!(page(&PAGE.replace("<Content-Length>7</Content-Length>", "")).is_err());
    }
}
