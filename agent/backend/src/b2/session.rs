//! What B2 tells when it lets us in: where to ask, with which token, and what the key may do.
//!
//! Good for a day, or until B2 says otherwise; then all of it is thrown away together, the bucket's ID and the upload
//! URLs too. A key's limits are looked at before each request, since B2's own answer does not say which one it was.

use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::ErrorKind;
use crate::remote::{Answer, Failed};

use super::upload::UploadUrls;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) account_id: String,
    pub(super) token: HeaderValue,
    pub(super) api_url: Url,
    pub(super) download_url: Url,
    /// `None` where nothing is said of them.
    capabilities: Option<Vec<String>>,
    /// What all names must begin with.
    name_prefix: String,
    pub(super) bucket_id: OnceCell<String>,
    pub(super) upload_urls: UploadUrls,
}

/// The answer to `b2_authorize_account` in version 3.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorized {
    account_id: String,
    authorization_token: String,
    api_info: ApiInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiInfo {
    storage_api: StorageApi,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StorageApi {
    api_url: String,
    download_url: String,
    capabilities: Option<Vec<String>>,
    name_prefix: Option<String>,
    bucket_id: Option<String>,
    bucket_name: Option<String>,
}

/// What a request is for, and what a key must be allowed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    ListBuckets,
    WriteBuckets,
    ListFiles,
    ReadFiles,
    WriteFiles,
    DeleteFiles,
}

impl Right {
    fn capability(self) -> &'static str {
        match self {
            Self::ListBuckets => "listBuckets",
            Self::WriteBuckets => "writeBuckets",
            Self::ListFiles => "listFiles",
            Self::ReadFiles => "readFiles",
            Self::WriteFiles => "writeFiles",
            Self::DeleteFiles => "deleteFiles",
        }
    }
}

impl Session {
    /// Reads the answer of the server at `base`, for whoever wants to use `bucket`.
    pub(super) fn read(text: &str, base: &Url, bucket: &str, upload_urls_max: usize) -> Answer<Self> {
        let Authorized { account_id, authorization_token, api_info } =
            serde_json::from_str(text).map_err(|_| {
                // What it is about holds the token.
                Failed::because(ErrorKind::Unavailable, "the answer to b2_authorize_account is none of B2's")
            })?;
        let api = api_info.storage_api;
        let bucket_id = match (api.bucket_id, api.bucket_name) {
            (None, _) => OnceCell::new(),
            (Some(id), Some(name)) if name == bucket => OnceCell::new_with(Some(id)),
            (Some(_), Some(name)) => {
                return Err(Failed::because(
                    ErrorKind::PermissionDenied,
                    format!("the key is for the bucket {name} only"),
                ));
            }
            (Some(_), None) => {
                return Err(Failed::NoContainer(
                    "the bucket that the key is for is not there any more".to_owned(),
                ));
            }
        };
        Ok(Self {
            account_id,
            token: secret_header(&authorization_token)?,
            api_url: url_told_by(base, &api.api_url)?,
            download_url: url_told_by(base, &api.download_url)?,
            capabilities: api.capabilities,
            name_prefix: api.name_prefix.unwrap_or_default(),
            bucket_id,
            upload_urls: UploadUrls::new(upload_urls_max),
        })
    }

    /// Whether the key has a right, as far as B2 told.
    pub(super) fn has(&self, right: Right) -> bool {
        let wanted = right.capability();
        self.capabilities.as_ref().is_none_or(|all| all.iter().any(|capability| capability == wanted))
    }

    /// That the key has a right, and may use it for `name`, where it is about one.
    pub(super) fn must_have(&self, right: Right, name: Option<&str>) -> Answer<()> {
        let denied = |why: String| Err(Failed::because(ErrorKind::PermissionDenied, why));
        match name {
            _ if !self.has(right) => denied(format!("the key lacks the capability {}", right.capability())),
            Some(name) if !name.starts_with(&self.name_prefix) => {
                denied(format!("the key is for names that begin with {} only", self.name_prefix))
            }
            _ => Ok(()),
        }
    }
}

/// A token as a header that shows itself to nobody.
pub(super) fn secret_header(token: &str) -> Answer<HeaderValue> {
    let mut header = HeaderValue::from_str(token)
        .map_err(|_| Failed::because(ErrorKind::Unavailable, "the store gave a token that is none"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Where a server says to go on. Who was asked over TLS does not lead out of it: tokens go there.
pub(super) fn url_told_by(server: &Url, text: &str) -> Answer<Url> {
    match Url::parse(text) {
        Ok(url) if url.has_host() && (url.scheme() == "https" || url.scheme() == server.scheme()) => Ok(url),
        _ => Err(Failed::because(ErrorKind::Misconfigured, "the store leads to a URL that cannot be used")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(base: &str, storage_api: &Value) -> Answer<Session> {
        let answer = json!({
            "accountId": "a1",
            "authorizationToken": "token-of-the-session",
            "applicationKeyExpirationTimestamp": null,
            "apiInfo": { "storageApi": storage_api, "groupsApi": {} },
        });
        Session::read(&answer.to_string(), &Url::parse(base).unwrap(), "bucket", 5)
    }

    fn storage_api(more: Value) -> Value {
        let mut all = json!({ "apiUrl": "https://api1.example", "downloadUrl": "https://f1.example" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    }

    fn denied(result: Answer<impl std::fmt::Debug>) -> String {
        match result.unwrap_err() {
            Failed::Because { kind: ErrorKind::PermissionDenied, why, .. } => why.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_key_may_do_is_known_before_it_is_tried() {
        let more =
            json!({ "capabilities": ["listFiles", "readFiles"], "namePrefix": "a/b", "bucketId": null });
        let session = read("https://h", &storage_api(more)).unwrap();
        session.must_have(Right::ReadFiles, Some("a/b/config")).unwrap();
        session.must_have(Right::ListFiles, Some("a/b")).unwrap();
        let said = denied(session.must_have(Right::WriteFiles, Some("a/b/config")));
        assert_eq!(said, "the key lacks the capability writeFiles");
        let said = denied(session.must_have(Right::ReadFiles, Some("a/config")));
        assert_eq!(said, "the key is for names that begin with a/b only");

        let silent = read("https://h", &storage_api(json!({}))).unwrap();
        silent.must_have(Right::DeleteFiles, Some("config")).unwrap();
    }

    #[test]
    fn a_key_of_one_bucket_needs_no_list_of_them_and_one_of_another_is_refused() {
        let of =
            |name: Value| read("https://h", &storage_api(json!({ "bucketId": "b1", "bucketName": name })));
        assert_eq!(of(json!("bucket")).unwrap().bucket_id.get().map(String::as_str), Some("b1"));
        assert_eq!(denied(of(json!("other"))), "the key is for the bucket other only");
        assert!(matches!(of(Value::Null), Err(Failed::NoContainer(_))));
    }

    #[test]
    fn tokens_are_not_led_out_of_tls() {
        let plain = json!({ "apiUrl": "http://api1.example", "downloadUrl": "https://f1.example" });
        assert!(read("https://h", &plain).is_err());
        read("http://127.0.0.1:1", &plain).unwrap();
        read("http://127.0.0.1:1", &storage_api(json!({}))).unwrap();
        assert!(read("https://h", &storage_api(json!({ "downloadUrl": "mailto:someone" }))).is_err());
    }

    #[test]
    fn a_session_shows_no_token() {
        let session = read("https://h", &storage_api(json!({}))).unwrap();
        let shown = format!("{session:?}");
        assert!(shown.contains("a1") && !shown.contains("token-of-the-session"), "{shown}");
        let garbled = json!({ "accountId": "a1", "authorizationToken": "token-of-the-session" }).to_string();
        let failed = Session::read(&garbled, &Url::parse("https://h").unwrap(), "bucket", 5).unwrap_err();
        assert!(!format!("{failed:?}").contains("token-of-the-session"));
    }
}
