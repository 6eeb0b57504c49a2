//! One question to B2 and its answer, within a session that is begun where there is none.
//!
//! A session that B2 calls expired is renewed and the same asked once more; a key that B2 does not know ends it at
//! once. The bucket's ID is asked for where the key does not tell it.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::ErrorKind;
use crate::credentials::B2Credentials;
use crate::remote::{Answer, Failed, escape};
use crate::transfer::{Request, RequestBody, Response, Transfer};

use super::refusal::Refusal;
use super::session::{Right, Session};
use super::uploaded::Uploaded;

/// Where all accounts begin.
const BACKBLAZE: &str = "https://api.backblazeb2.com";

const TEST_MODE: HeaderName = HeaderName::from_static("x-bz-test-mode");

/// A page has at most 1,000 names of at most 1,024 bytes, each escaped and with what else B2 tells of a file.
const MAX_ANSWER_BYTES: usize = 16 << 20;

#[derive(Debug)]
pub(super) struct Client {
    transfer: Transfer,
    base: Url,
    /// Key and ID, as `b2_authorize_account` wants them.
    key: HeaderValue,
    /// Makes the service itself fail now and then, as its vendor wants clients to be tested.
    test_mode: Option<HeaderValue>,
    bucket: String,
    upload_urls_max: usize,
    session: Mutex<Option<Arc<Session>>>,
    pub(super) uploaded: Uploaded,
}

/// What is asked within a session.
pub(super) enum Question<'a> {
    /// A call of the API.
    Call {
        call: &'static str,
        right: Right,
        /// The name it is about.
        name: Option<&'a str>,
        scope: Scope,
        parameters: Value,
    },
    /// A file, by GET or HEAD.
    File { method: Method, name: &'a str, headers: HeaderMap },
}

/// Whose ID is one more parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Account,
    Bucket,
    None,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Buckets {
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bucket {
    bucket_id: String,
    bucket_name: String,
}

impl Client {
    /// The error is a sentence about the settings.
    pub(super) fn new(
        transfer: Transfer,
        credentials: &B2Credentials,
        bucket: &str,
        upload_urls_max: usize,
    ) -> Result<Self, String> {
        let base = credentials.endpoint.as_deref().unwrap_or(BACKBLAZE);
        let base = Url::parse(base).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty()
        });
        let base = base.ok_or("B2_API_URL is no http:// or https:// with a host")?;
        let key = credentials.key.expose_text().ok_or("B2_ACCOUNT_KEY is no text")?;
        let basic = BASE64.encode(format!("{}:{key}", credentials.key_id).as_bytes());
        let mut key = HeaderValue::from_str(&format!("Basic {basic}")).expect("base64 is plain");
        key.set_sensitive(true);
        let test_mode = credentials.test_mode.as_deref().map(HeaderValue::from_str).transpose();
        let test_mode = test_mode.map_err(|_| "B2_TEST_MODE has characters that no header can have")?;
        let (bucket, session, uploaded) = (bucket.to_owned(), Mutex::default(), Uploaded::default());
        Ok(Self { transfer, base, key, test_mode, bucket, upload_urls_max, session, uploaded })
    }

    /// The session of now. Of many who need one, one begins it.
    pub(super) async fn session(&self) -> Answer<Arc<Session>> {
        let mut current = self.session.lock().await;
        if let Some(session) = &*current {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(self.authorize().await?);
        *current = Some(Arc::clone(&session));
        Ok(session)
    }

    async fn authorize(&self) -> Answer<Session> {
        let url = below(&self.base, "/b2api/v3/b2_authorize_account");
        let answer = self.send(Method::GET, url, &self.key, HeaderMap::new(), RequestBody::Empty).await;
        let response = answer.map_err(|refusal| {
            let is_of_key = refusal.is_of_key();
            match refusal.into_failed() {
                Failed::Because { why, .. } if is_of_key => Failed::because(
                    ErrorKind::PermissionDenied,
                    format!("B2 does not let in the key of B2_ACCOUNT_ID and B2_ACCOUNT_KEY: {why}"),
                ),
                // Nothing of ours is missing there, but B2 itself.
                Failed::Because { kind: ErrorKind::NotFound, why, .. } => {
                    Failed::because(ErrorKind::Misconfigured, format!("no B2 at {}: {why}", self.base))
                }
                failed => failed,
            }
        })?;
        let text = response.text(MAX_ANSWER_BYTES).await?;
        Session::read(&text, &self.base, &self.bucket, self.upload_urls_max)
    }

    /// Ends a session for all, if it is still that of now.
    pub(super) async fn forget(&self, session: &Arc<Session>) {
        let mut current = self.session.lock().await;
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            *current = None;
        }
    }

    /// What B2 answers to a call.
    pub(super) async fn ask<T: DeserializeOwned>(&self, question: &Question<'_>) -> Answer<T> {
        read(self.request(question).await?.1).await
    }

    /// A success, and the session it was had in.
    pub(super) async fn request(&self, question: &Question<'_>) -> Answer<(Arc<Session>, Response)> {
        self.try_request(question).await.map_err(Refusal::into_failed)
    }

    /// As [`Self::request`], for whoever wants to know more of a refusal.
    pub(super) async fn try_request(
        &self,
        question: &Question<'_>,
    ) -> Result<(Arc<Session>, Response), Refusal> {
        let mut renewed = false;
        loop {
            let session = self.session().await?;
            let refusal = match self.put_to(&session, question).await {
                Ok(response) => return Ok((session, response)),
                Err(refusal) => refusal,
            };
            self.learn(&session, &refusal).await;
            if renewed || !refusal.is_of_token() {
                return Err(refusal);
            }
            renewed = true;
        }
    }

    /// What a refusal tells of the session that it came in.
    pub(super) async fn learn(&self, session: &Arc<Session>, refusal: &Refusal) {
        let lost_bucket =
            matches!(refusal.failed(), Failed::NoContainer(_)) && session.bucket_id.initialized();
        if refusal.is_of_token() || lost_bucket {
            self.forget(session).await;
        }
    }

    async fn put_to(&self, session: &Session, question: &Question<'_>) -> Result<Response, Refusal> {
        match question {
            Question::Call { call, right, name, scope, parameters } => {
                session.must_have(*right, *name)?;
                let mut parameters = parameters.clone();
                match scope {
                    Scope::Account => parameters["accountId"] = json!(session.account_id),
                    Scope::Bucket => parameters["bucketId"] = json!(self.bucket_id(session).await?),
                    Scope::None => {}
                }
                self.call(session, call, &parameters).await
            }
            Question::File { method, name, headers } => {
                session.must_have(Right::ReadFiles, Some(name))?;
                let path = format!("/file/{}/{}", escape(&self.bucket), escape(name));
                let url = below(&session.download_url, &path);
                self.send(method.clone(), url, &session.token, headers.clone(), RequestBody::Empty).await
            }
        }
    }

    async fn bucket_id<'a>(&self, session: &'a Session) -> Result<&'a String, Refusal> {
        session.bucket_id.get_or_try_init(|| self.find_bucket(session)).await
    }

    async fn find_bucket(&self, session: &Session) -> Result<String, Refusal> {
        session.must_have(Right::ListBuckets, None)?;
        let parameters = json!({ "accountId": session.account_id, "bucketName": self.bucket });
        let found: Buckets = read(self.call(session, "b2_list_buckets", &parameters).await?).await?;
        let found = found.buckets.into_iter().find(|bucket| bucket.bucket_name == self.bucket);
        let missing = || Failed::NoContainer("there is no such bucket".to_owned());
        Ok(found.ok_or_else(missing)?.bucket_id)
    }

    /// Whether the bucket is there.
    pub(super) async fn has_bucket(&self) -> Answer<bool> {
        let mut renewed = false;
        loop {
            let session = self.session().await?;
            let refusal = match self.bucket_id(&session).await {
                Ok(_) => return Ok(true),
                Err(refusal) => refusal,
            };
            self.learn(&session, &refusal).await;
            match refusal.is_of_token() {
                true if !renewed => renewed = true,
                _ => {
                    return match refusal.into_failed() {
                        Failed::NoContainer(_) => Ok(false),
                        failed => Err(failed),
                    };
                }
            }
        }
    }

    async fn call(&self, session: &Session, call: &str, parameters: &Value) -> Result<Response, Refusal> {
        let url = below(&session.api_url, &format!("/b2api/v3/{call}"));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = RequestBody::Bytes(Bytes::from(parameters.to_string()));
        self.send(Method::POST, url, &session.token, headers, body).await.map_err(Refusal::of_call)
    }

    /// A request with that token. The answer is a success.
    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        token: &HeaderValue,
        mut headers: HeaderMap,
        body: RequestBody,
    ) -> Result<Response, Refusal> {
        headers.insert(AUTHORIZATION, token.clone());
        if let Some(mode) = &self.test_mode {
            headers.insert(TEST_MODE, mode.clone());
        }
        let response = self.transfer.send(Request { method, url, headers, body }).await?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(Refusal::read(response, token).await),
        }
    }
}

fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

/// The answer to a call. It is read to its end, or its connection could not be used again.
pub(super) async fn read<T: DeserializeOwned>(response: Response) -> Answer<T> {
    let text = response.text(MAX_ANSWER_BYTES).await?;
    // What is wrong with it is not told: it may hold a token.
    serde_json::from_str(&text)
        .map_err(|_| Failed::because(ErrorKind::Unavailable, "the answer is none of B2's"))
}
