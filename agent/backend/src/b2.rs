//! Backblaze B2 by its native API, which takes any key of an account, the master key too.
//!
//! Files are found by their names and stored as versions of them, of which only the newest counts. B2 cannot refuse a
//! name that is taken, so nothing is ever decided by who stores first. A download is not compared with the SHA-1 that
//! B2 has for it: what reads it knows a better digest, or decrypts with one.

mod client;
mod refusal;
mod session;
mod upload;
mod uploaded;
mod versions;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue, RANGE};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ErrorKind;
use crate::credentials::B2Credentials;
use crate::location::{B2Location, Location};
use crate::remote::{Answer, Download, Failed, Head, Objects, Page, PutMode, reply};
use crate::transfer::{Digests, Response, Transfer, Upload};

use client::{Client, Question, Scope};
use session::Right;

/// A list of so many names is paid for as one.
const PAGE_NAMES_MAX: usize = 1_000;

#[derive(Debug)]
pub(crate) struct B2 {
    client: Client,
    bucket: String,
    shown: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Names {
    files: Vec<Listed>,
    next_file_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    file_name: String,
    content_length: u64,
    upload_timestamp: u64,
}

impl B2 {
    /// The error is a sentence about the settings.
    pub(crate) fn new(
        transfer: Transfer,
        location: &B2Location,
        credentials: &B2Credentials,
        max_connections: usize,
    ) -> Result<Self, String> {
        let client = Client::new(transfer, credentials, &location.bucket, max_connections)?;
        let shown = Location::B2(location.clone()).to_string();
        Ok(Self { client, bucket: location.bucket.clone(), shown })
    }

    async fn get_file(&self, name: &str, range: Option<&Range<u64>>) -> Answer<Response> {
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            let value = format!("bytes={}-{}", range.start, range.end - 1);
            headers.insert(RANGE, HeaderValue::from_str(&value).expect("digits are plain"));
        }
        Ok(self.client.request(&Question::File { method: Method::GET, name, headers }).await?.1)
    }
}

#[async_trait::async_trait]
impl Objects for B2 {
    const DIGESTS: Digests = Digests { md5: false, sha1: true, sha256: false };

    fn location(&self) -> String {
        self.shown.clone()
    }

    fn can_create_only(&self) -> bool {
        false
    }

    async fn create_container(&self) -> Answer<()> {
        if self.client.has_bucket().await? {
            return Ok(());
        }
        let question = Question::Call {
            call: "b2_create_bucket",
            right: Right::WriteBuckets,
            name: None,
            scope: Scope::Account,
            parameters: json!({ "bucketName": self.bucket, "bucketType": "allPrivate" }),
        };
        match self.client.ask::<Value>(&question).await {
            Ok(_) => Ok(()),
            // Another program of this account was faster, or the name is a stranger's.
            Err(failed) if failed.is(ErrorKind::AlreadyExists) => match self.client.has_bucket().await? {
                true => Ok(()),
                false => Err(Failed::because(
                    ErrorKind::PermissionDenied,
                    "the bucket's name is taken by somebody else",
                )),
            },
            Err(Failed::Because { kind: ErrorKind::PermissionDenied, why, .. }) => Err(Failed::because(
                ErrorKind::PermissionDenied,
                format!("there is no such bucket, and this key may not make one: {why}"),
            )),
            Err(failed) => Err(failed),
        }
    }

    /// By HEAD, which is paid for as a tenth of a list of one name, and which needs no right but that to read.
    async fn head(&self, name: &str) -> Answer<Head> {
        let question = Question::File { method: Method::HEAD, name, headers: HeaderMap::new() };
        let silent = match self.client.try_request(&question).await {
            Ok((_, response)) => return reply::whole(response).map(|found| head(&found)),
            Err(refusal) if refusal.is_silent() => refusal.into_failed(),
            Err(refusal) => return Err(refusal.into_failed()),
        };
        // What it was about is told by the answer to a GET.
        match self.get_file(name, Some(&(0..1))).await {
            Ok(response) => reply::part(response).map(|found| head(&found)),
            Err(failed) if failed.is(ErrorKind::OutOfRange) => Err(silent),
            Err(failed) => Err(failed),
        }
    }

    async fn get(&self, name: &str, range: Option<Range<u64>>) -> Answer<Download> {
        reply::download(self.get_file(name, range.as_ref()).await?, range.as_ref())
    }

    async fn put(&self, name: &str, upload: Arc<Upload>, mode: PutMode) -> Answer<()> {
        match mode {
            PutMode::Replace => self.client.upload(name, upload).await,
            PutMode::Create => {
                Err(Failed::because(ErrorKind::Unsupported, "B2 cannot store a new file only"))
            }
        }
    }

    async fn list(&self, prefix: &str, from: Option<&str>) -> Answer<Page> {
        let question = Question::Call {
            call: "b2_list_file_names",
            right: Right::ListFiles,
            name: Some(prefix),
            scope: Scope::Bucket,
            parameters: json!({ "prefix": prefix, "startFileName": from, "maxFileCount": PAGE_NAMES_MAX }),
        };
        let names: Names = self.client.ask(&question).await?;
        let objects = names.files.into_iter().map(|file| {
            let head = Head { size_bytes: file.content_length, modified: time(file.upload_timestamp) };
            (file.file_name, head)
        });
        Ok(Page { objects: objects.collect(), next: names.next_file_name })
    }

    async fn delete(&self, name: &str) -> Answer<()> {
        self.client.delete(name).await
    }
}

fn head(found: &Download) -> Head {
    let uploaded = found.response.header("x-bz-upload-timestamp").and_then(|text| text.parse().ok());
    Head { size_bytes: found.size_bytes, modified: uploaded.and_then(time) }
}

fn time(milliseconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds))
}
