//! S3 and what speaks it: AWS, MinIO, Ceph's gateway, Spaces.
//!
//! A request is signed with SigV4 by `object_store`'s authorizer and sent by our own transfer: so bodies stream, the
//! store compares each with the SHA-256 that is its name, and everything a refusal says is seen (a region, a wait, the
//! store's clock), of which that crate passes nothing on. Two things are answered by asking once more: a bucket that
//! is in another region, and credentials that have just expired.

mod address;
mod identity;
mod list;
mod refusal;

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::Method;
use reqwest::header::HeaderMap;

use crate::ErrorKind;
use crate::credentials::S3Credentials;
use crate::location::{Location, S3Location};
use crate::open::S3Options;
use crate::remote::{Answer, Download, Failed, Head, Heard, Objects, Page, PutMode, headers, reply};
use crate::transfer::{Digests, Request, RequestBody, Response, Transfer, Upload};

use address::Address;
use identity::{Identity, Signer};
use refusal::Refusal;

/// A page has at most 1,000 names of at most 1,024 bytes, each escaped and with its dates and digests.
const MAX_PAGE_BYTES: usize = 16 << 20;

#[derive(Debug)]
pub(crate) struct S3 {
    transfer: Transfer,
    identity: Identity,
    /// Learned when the store says that the bucket is elsewhere.
    address: RwLock<Address>,
    heard: Heard,
    shown: String,
}

/// What is asked, before it is signed.
struct Call<'a> {
    method: Method,
    /// `None` for the bucket itself.
    name: Option<&'a str>,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: RequestBody,
}

impl<'a> Call<'a> {
    fn new(method: Method, name: Option<&'a str>) -> Self {
        Self { method, name, query: Vec::new(), headers: HeaderMap::new(), body: RequestBody::Empty }
    }

    fn on(method: Method, name: &'a str) -> Self {
        Self::new(method, Some(name))
    }

    fn get(name: &'a str, range: Option<&Range<u64>>) -> Self {
        let mut call = Self::on(Method::GET, name);
        call.headers = headers::of_range(range);
        call
    }

    /// The digest of the body, where it was not computed from it.
    fn sha256(&self) -> Option<[u8; 32]> {
        match &self.body {
            RequestBody::Upload(upload) => upload.sha256,
            RequestBody::Empty | RequestBody::Bytes(_) => None,
        }
    }

    /// For the authorizer, which hashes a small body itself.
    fn signed_body(&self) -> HttpRequestBody {
        match &self.body {
            RequestBody::Bytes(bytes) => bytes.clone().into(),
            RequestBody::Empty | RequestBody::Upload(_) => HttpRequestBody::empty(),
        }
    }
}

impl S3 {
    /// The error is a sentence about the settings.
    pub(crate) fn new(
        transfer: Transfer,
        location: &S3Location,
        credentials: &S3Credentials,
        options: &S3Options,
    ) -> Result<Self, String> {
        let address = Address::new(location, options)?;
        let identity = Identity::new(credentials, &address, &transfer)?;
        let shown = Location::S3(location.clone()).to_string();
        Ok(Self { transfer, identity, address: RwLock::new(address), heard: Heard::default(), shown })
    }

    fn address(&self) -> Address {
        self.address.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether this is news; then the call is worth another try.
    fn learn(&self, region: &str) -> bool {
        self.address.write().unwrap_or_else(PoisonError::into_inner).move_to(region)
    }

    /// The answer is a success.
    async fn request(&self, call: Call<'_>) -> Answer<Response> {
        self.ask(call).await?.map_err(|refusal| refusal.into_failed(&self.identity))
    }

    /// Asks, and asks once more where the store has said how.
    async fn ask(&self, call: Call<'_>) -> Answer<Result<Response, Refusal>> {
        let (mut moved, mut renewed) = (false, false);
        loop {
            let signer = self.identity.signer().await?;
            let response = self.send(&call, &signer).await?;
            if response.status().is_success() {
                self.heard.note();
                return Ok(Ok(response));
            }
            let refusal = Refusal::read(response, &call, &self.heard).await;
            if let Some(region) = refusal.region()
                && !moved
                && self.learn(region)
            {
                tracing::info!(region, "the bucket is in another region");
                moved = true;
            } else if refusal.is_of_expired_credentials() && !renewed && self.identity.renew(&signer) {
                renewed = true;
            } else {
                return Ok(Err(refusal));
            }
        }
    }

    async fn send(&self, call: &Call<'_>, signer: &Signer) -> Answer<Response> {
        let address = self.address();
        let url = address.url(call.name, &call.query);
        let mut signed: HttpRequest = http_request(&call.method, url.as_str(), call.signed_body())?;
        *signed.headers_mut() = call.headers.clone();
        AwsAuthorizer::new(&signer.credential, "s3", address.region())
            .try_authorize(&mut signed, call.sha256().as_ref().map(<[u8; 32]>::as_slice))
            .map_err(|e| Failed::because(ErrorKind::Misconfigured, e))?;
        let headers = std::mem::take(signed.headers_mut());
        self.transfer
            .send(Request { method: call.method.clone(), url, headers, body: call.body.clone() })
            .await
    }

    /// Whether the bucket is there.
    async fn has_bucket(&self) -> Answer<bool> {
        match self.request(Call::new(Method::HEAD, None)).await {
            Ok(_) => Ok(true),
            Err(failed) if failed.is(ErrorKind::NotFound) => Ok(false),
            Err(Failed::NoContainer(_)) => Ok(false),
            // Who may use what is in a bucket may not always look at the bucket itself.
            Err(failed) if failed.is(ErrorKind::PermissionDenied) => Ok(true),
            Err(failed) => Err(failed),
        }
    }
}

fn http_request(method: &Method, url: &str, body: HttpRequestBody) -> Answer<HttpRequest> {
    let mut request = HttpRequest::new(body);
    *request.method_mut() = method.clone();
    *request.uri_mut() = url.parse().map_err(|e| Failed::because(ErrorKind::Misconfigured, e))?;
    Ok(request)
}

#[async_trait::async_trait]
impl Objects for S3 {
    const DIGESTS: Digests = Digests { md5: true, sha1: false, sha256: true };

    fn location(&self) -> String {
        self.shown.clone()
    }

    fn can_create_only(&self) -> bool {
        true
    }

    async fn create_container(&self) -> Answer<()> {
        if self.has_bucket().await? {
            return Ok(());
        }
        let mut call = Call::new(Method::PUT, None);
        if let Some(region) = self.address().location_constraint() {
            let xml = format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            );
            call.body = RequestBody::Bytes(Bytes::from(xml));
        }
        let refused = match self.request(call).await {
            Ok(_) => return Ok(()),
            Err(refused) => refused,
        };
        match refused {
            // Somebody was faster, or the name is a stranger's: stores use both words for both.
            Failed::Because { kind: ErrorKind::AlreadyExists, why, .. } => match self.has_bucket().await? {
                true => Ok(()),
                false => Err(Failed::because(
                    ErrorKind::PermissionDenied,
                    format!("the bucket's name is taken by somebody else: {why}"),
                )),
            },
            Failed::Because { kind: ErrorKind::PermissionDenied, why, .. } => Err(Failed::because(
                ErrorKind::PermissionDenied,
                format!("there is no such bucket, and this key may not make one: {why}"),
            )),
            other => Err(other),
        }
    }

    async fn head(&self, name: &str) -> Answer<Head> {
        let refused = match self.ask(Call::on(Method::HEAD, name)).await? {
            Ok(response) => return reply::head(&response),
            Err(refusal) => refusal.into_failed(&self.identity),
        };
        // An answer to HEAD has no body, and the body says why, and whether it is the store's: the same is asked in
        // another way.
        match self.request(Call::get(name, Some(&(0..1)))).await {
            Ok(response) => reply::part(response).map(|found| Head {
                size_bytes: found.size_bytes,
                modified: reply::modified(&found.response),
            }),
            Err(failed) if failed.is(ErrorKind::OutOfRange) => Err(refused),
            Err(failed) => Err(failed),
        }
    }

    async fn get(&self, name: &str, range: Option<Range<u64>>) -> Answer<Download> {
        let response = self.request(Call::get(name, range.as_ref())).await?;
        reply::download(response, range.as_ref())
    }

    async fn put(&self, name: &str, upload: Arc<Upload>, mode: PutMode) -> Answer<()> {
        let mut call = Call::on(Method::PUT, name);
        call.headers = headers::of_body(&upload, mode);
        call.body = RequestBody::Upload(upload);
        self.request(call).await.map(drop)
    }

    async fn list(&self, prefix: &str, from: Option<&str>) -> Answer<Page> {
        let mut call = Call::new(Method::GET, None);
        call.query = vec![("list-type", "2".to_owned()), ("prefix", prefix.to_owned())];
        if let Some(from) = from {
            call.query.push(("continuation-token", from.to_owned()));
        }
        let text = self.request(call).await?.text(MAX_PAGE_BYTES).await?;
        list::page(&text)
    }

    async fn delete(&self, name: &str) -> Answer<()> {
        self.request(Call::on(Method::DELETE, name)).await.map(drop)
    }
}
