//! Bytes into B2: each upload goes to a storage pod of its own, to a URL that takes one upload at a time.
//!
//! A URL that took an upload takes more, so those at rest are kept. One that failed is never used again, nor is one
//! whose upload was given up. Asked for once more, and no more, is a URL in place of one that failed, which is how B2
//! says that a pod is full; the patience for further ones is [`crate::retry`]'s.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::HEXLOWER;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::json;

use crate::ErrorKind;
use crate::remote::{Answer, Failed, escape};
use crate::transfer::{RequestBody, Upload};

use super::client::{Client, Question, Scope, read};
use super::refusal::Refusal;
use super::session::{Right, Session, secret_header, url_told_by};

const FILE_NAME: HeaderName = HeaderName::from_static("x-bz-file-name");
const CONTENT_SHA1: HeaderName = HeaderName::from_static("x-bz-content-sha1");

/// The upload URLs at rest.
#[derive(Debug)]
pub(super) struct UploadUrls {
    urls: Mutex<Vec<UploadUrl>>,
    max: usize,
}

/// A way into one pod.
struct UploadUrl {
    url: Url,
    token: HeaderValue,
}

impl fmt::Debug for UploadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some have their token in them.
        f.write_str("UploadUrl")
    }
}

impl UploadUrls {
    pub(super) fn new(max: usize) -> Self {
        Self { urls: Mutex::default(), max }
    }

    fn take(&self) -> Option<UploadUrl> {
        self.urls.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, url: UploadUrl) {
        let mut urls = self.urls.lock().unwrap_or_else(PoisonError::into_inner);
        if urls.len() < self.max {
            urls.push(url);
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GotUploadUrl {
    upload_url: String,
    authorization_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    content_length: u64,
    file_id: String,
}

impl Client {
    /// Stores an object, as the newest version of that name.
    pub(super) async fn upload(&self, name: &str, upload: Arc<Upload>) -> Answer<()> {
        let session = self.session().await?;
        session.must_have(Right::WriteFiles, Some(name))?;
        let mut at_rest = session.upload_urls.take().map(|url| (session, url));
        let mut replaced = false;
        loop {
            let (session, url) = match at_rest.take() {
                Some(found) => found,
                None => self.upload_url(name).await?,
            };
            self.uploaded.begin(name);
            let refusal = match self.upload_to(&url, name, &upload).await {
                Ok(file_id) => {
                    self.uploaded.end(name, file_id);
                    session.upload_urls.give_back(url);
                    return Ok(());
                }
                Err(refusal) => refusal,
            };
            if refusal.is_of_upload_url() && !replaced {
                replaced = true;
                continue;
            }
            if let Failed::NoContainer(_) = refusal.failed() {
                self.forget(&session).await;
            }
            return Err(refusal.into_failed());
        }
    }

    async fn upload_url(&self, name: &str) -> Answer<(Arc<Session>, UploadUrl)> {
        let question = Question::Call {
            call: "b2_get_upload_url",
            right: Right::WriteFiles,
            name: Some(name),
            scope: Scope::Bucket,
            parameters: json!({}),
        };
        let (session, response) = self.request(&question).await?;
        let got: GotUploadUrl = read(response).await?;
        let url = UploadUrl {
            url: url_told_by(&session.api_url, &got.upload_url)?,
            token: secret_header(&got.authorization_token)?,
        };
        Ok((session, url))
    }

    /// Succeeds with the ID of the version that it became.
    async fn upload_to(&self, to: &UploadUrl, name: &str, upload: &Arc<Upload>) -> Result<String, Refusal> {
        let sha1 = HEXLOWER.encode(&upload.sha1.expect("B2's uploads are looked through for it"));
        let header = |text: &str| HeaderValue::from_str(text).expect("what is escaped is plain");
        let mut headers = HeaderMap::new();
        headers.insert(FILE_NAME, header(&escape(name)));
        headers.insert(CONTENT_SHA1, header(&sha1));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let body = RequestBody::Upload(Arc::clone(upload));
        let response = self.send(Method::POST, to.url.clone(), &to.token, headers, body).await?;
        let stored: Stored = read(response).await?;
        match stored.content_length == upload.size_bytes() {
            true => Ok(stored.file_id),
            false => Err(Failed::because(ErrorKind::Unavailable, "another size was stored").into()),
        }
    }
}
