//! Azure Blob Storage.
//!
//! A request is signed by `object_store`'s authorizer and sent by our own transfer: so bodies stream, the service
//! compares each with its MD5, and everything a refusal says is seen. Each file is one Put Blob, for which the service
//! takes 5,000 MiB, far above the largest pack: so there are no blocks, and nothing is left of an upload that broke
//! off. A shared access signature is part of the URL, which must never be shown.

mod account;
mod identity;
mod list;
mod refusal;

use std::ops::Range;
use std::sync::Arc;

use object_store::azure::AzureAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use crate::ErrorKind;
use crate::credentials::AzureCredentials;
use crate::location::{AzureLocation, Location};
use crate::remote::{Answer, Download, Failed, Head, Heard, Objects, Page, PutMode, headers, reply};
use crate::transfer::{Digests, Request, RequestBody, Response, Transfer, Upload};

use account::Account;
use identity::Identity;
use refusal::Refusal;

const BLOB_TYPE: HeaderName = HeaderName::from_static("x-ms-blob-type");

/// A page has at most 5,000 names of at most 1,024 bytes, each escaped and with a thousand bytes of properties.
const MAX_PAGE_BYTES: usize = 32 << 20;

const RESTYPE: (&str, &str) = ("restype", "container");

#[derive(Debug)]
pub(crate) struct Azure {
    transfer: Transfer,
    identity: Identity,
    account: Account,
    heard: Heard,
    shown: String,
}

/// What is asked, before it is signed.
struct Call<'a> {
    method: Method,
    /// `None` for the container itself.
    name: Option<&'a str>,
    query: Vec<(&'static str, &'a str)>,
    headers: HeaderMap,
    upload: Option<Arc<Upload>>,
}

impl<'a> Call<'a> {
    fn on(method: Method, name: &'a str) -> Self {
        Self { method, name: Some(name), query: Vec::new(), headers: HeaderMap::new(), upload: None }
    }

    fn on_container(method: Method) -> Self {
        Self { method, name: None, query: vec![RESTYPE], headers: HeaderMap::new(), upload: None }
    }
}

impl Azure {
    /// The error is a sentence about the settings.
    pub(crate) fn new(
        transfer: Transfer,
        location: &AzureLocation,
        credentials: &AzureCredentials,
    ) -> Result<Self, String> {
        let account = Account::new(credentials, &location.container)?;
        let identity = Identity::new(&credentials.proof, &transfer)?;
        let shown = Location::Azure(location.clone()).to_string();
        Ok(Self { transfer, identity, account, heard: Heard::default(), shown })
    }

    /// Asks, and asks once more where a token may just have expired.
    async fn ask(&self, call: &Call<'_>) -> Answer<Result<Response, Refusal>> {
        let mut renewed = false;
        loop {
            let response = self.send(call).await?;
            if response.status().is_success() {
                self.heard.note();
                return Ok(Ok(response));
            }
            let refusal = Refusal::read(response, &self.heard).await;
            if renewed || !refusal.is_of_credentials() || !self.identity.renew() {
                return Ok(Err(refusal));
            }
            renewed = true;
        }
    }

    /// The answer is a success.
    async fn request(&self, call: Call<'_>) -> Answer<Response> {
        self.ask(&call).await?.map_err(|refusal| refusal.into_failed(&self.identity.hint()))
    }

    async fn send(&self, call: &Call<'_>) -> Answer<Response> {
        let credential = self.identity.credential().await?;
        let wrong = |e: object_store::Error| Failed::because(ErrorKind::Misconfigured, e);
        let unusable = |_| Failed::because(ErrorKind::Misconfigured, "the location makes no URL");
        let url = self.account.url(call.name, &call.query);
        let mut signed = HttpRequest::new(HttpRequestBody::empty());
        *signed.method_mut() = call.method.clone();
        *signed.uri_mut() = url.as_str().parse().map_err(|_| unusable(()))?;
        *signed.headers_mut() = call.headers.clone();
        if let Some(upload) = &call.upload {
            // Part of what is signed.
            signed.headers_mut().insert(CONTENT_LENGTH, upload.size_bytes().into());
        }
        AzureAuthorizer::new(&credential, &self.account.name).try_authorize(&mut signed).map_err(wrong)?;
        let url = Url::parse(&signed.uri().to_string()).map_err(|_| unusable(()))?;
        let headers = std::mem::take(signed.headers_mut());
        let body =
            call.upload.as_ref().map_or(RequestBody::Empty, |upload| RequestBody::Upload(Arc::clone(upload)));
        self.transfer.send(Request { method: call.method.clone(), url, headers, body }).await
    }

    /// Whether the container is there.
    async fn has_container(&self) -> Answer<bool> {
        match self.ask(&Call::on_container(Method::HEAD)).await? {
            Ok(_) => Ok(true),
            // Who may use what is in a container may not always look at the container itself.
            Err(refusal) if refusal.is_of_rights() && !self.identity.is_owner() => Ok(true),
            Err(refusal) => match refusal.into_failed(&self.identity.hint()) {
                Failed::NoContainer(_) => Ok(false),
                failed if failed.is(ErrorKind::NotFound) => Ok(false),
                failed => Err(failed),
            },
        }
    }
}

#[async_trait::async_trait]
impl Objects for Azure {
    const DIGESTS: Digests = Digests { md5: true, sha1: false, sha256: false };

    fn location(&self) -> String {
        self.shown.clone()
    }

    fn can_create_only(&self) -> bool {
        true
    }

    async fn create_container(&self) -> Answer<()> {
        if self.has_container().await? {
            return Ok(());
        }
        match self.request(Call::on_container(Method::PUT)).await {
            Ok(_) => Ok(()),
            // Somebody was faster: a name belongs to the account.
            Err(failed) if failed.is(ErrorKind::AlreadyExists) => Ok(()),
            Err(Failed::Because { kind: ErrorKind::PermissionDenied, why, .. }) => Err(Failed::because(
                ErrorKind::PermissionDenied,
                format!("there is no such container, and these credentials may not make one: {why}"),
            )),
            Err(failed) => Err(failed),
        }
    }

    async fn head(&self, name: &str) -> Answer<Head> {
        reply::head(&self.request(Call::on(Method::HEAD, name)).await?)
    }

    async fn get(&self, name: &str, range: Option<Range<u64>>) -> Answer<Download> {
        let mut call = Call::on(Method::GET, name);
        call.headers = headers::of_range(range.as_ref());
        reply::download(self.request(call).await?, range.as_ref())
    }

    async fn put(&self, name: &str, upload: Arc<Upload>, mode: PutMode) -> Answer<()> {
        let mut call = Call::on(Method::PUT, name);
        call.headers = headers::of_body(&upload, mode);
        call.headers.insert(BLOB_TYPE, HeaderValue::from_static("BlockBlob"));
        call.upload = Some(upload);
        self.request(call).await.map(drop)
    }

    async fn list(&self, prefix: &str, from: Option<&str>) -> Answer<Page> {
        let mut call = Call::on_container(Method::GET);
        call.query.extend([("comp", "list"), ("prefix", prefix)]);
        call.query.extend(from.map(|from| ("marker", from)));
        let text = self.request(call).await?.text(MAX_PAGE_BYTES).await?;
        list::page(&text)
    }

    async fn delete(&self, name: &str) -> Answer<()> {
        self.request(Call::on(Method::DELETE, name)).await.map(drop)
    }
}
