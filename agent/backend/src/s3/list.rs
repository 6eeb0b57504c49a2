//! The answer to `ListObjectsV2`.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use quick_xml::de;
use serde::Deserialize;

use crate::ErrorKind;
use crate::remote::{Answer, Failed, Head, Page};

/// Whether it goes on is always told, so that the page of something else on the way is not taken for an empty list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBucketResult {
    #[serde(default)]
    contents: Vec<Contents>,
    is_truncated: bool,
    #[serde(default)]
    next_continuation_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    #[serde(default)]
    last_modified: Option<String>,
}

pub(super) fn page(text: &str) -> Answer<Page> {
    let malformed =
        |why: String| Failed::because(ErrorKind::Unavailable, format!("a list that is none: {why}"));
    let result: ListBucketResult = de::from_str(text).map_err(|e| malformed(e.to_string()))?;
    let next = match (result.is_truncated, result.next_continuation_token) {
        (true, Some(token)) if !token.is_empty() => Some(token),
        // The next try would be told the same: it is an answer to another sort of list.
        (true, _) => {
            let why = "the store's list goes on, and nothing says where";
            return Err(Failed::because(ErrorKind::Unsupported, why));
        }
        (false, _) => None,
    };
    let objects = result.contents.into_iter().map(|contents| {
        let modified = contents.last_modified.as_deref().and_then(time);
        (contents.key, Head { size_bytes: contents.size, modified })
    });
    Ok(Page { objects: objects.collect(), next })
}

fn time(text: &str) -> Option<SystemTime> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_and_one_that_breaks_off_is_no_end() {
        let text = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Name>b</Name><IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b=</NextContinuationToken>\
            <Contents><Key>p &lt;q&gt;/config</Key><LastModified>1970-01-01T00:00:01.000Z</LastModified>\
            <ETag>x</ETag><Size>7</Size></Contents></ListBucketResult>";
        let read = page(text).unwrap();
        assert_eq!(read.next.as_deref(), Some("a&b="));
        let (name, head) = &read.objects[0];
        assert_eq!((name.as_str(), head.size_bytes), ("p <q>/config", 7));
        assert_eq!(head.modified, Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1)));
        for without in [text.replace("NextC", "OtherC"), text.replace("a&amp;b=", "")] {
            assert!(page(&without).unwrap_err().is(ErrorKind::Unsupported));
        }
        for other in ["<html>", "<html><body/></html>", "<ListBucketResult></ListBucketResult>", "{}", ""] {
            assert!(page(other).is_err(), "{other}");
        }
        let empty = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
        assert!(page(empty).unwrap().objects.is_empty());
    }
}
