//! What the model of B2 says beyond what stock restic asks it: the words of its refusals, and the faults it is ordered.

use std::io::{Read, Write};
use std::net::TcpStream;

use pillion_e2e::servers::{Credentials, Kind, Rights, Security, Server};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A client that does as it is told, and nothing by itself.
struct Account {
    server: Server,
    runtime: Runtime,
    http: reqwest::Client,
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the answer is JSON")
    }

    fn code(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

impl Account {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            server: Server::start(Kind::B2, Security::Plain),
            runtime: runtime.expect("start a runtime"),
            http: reqwest::Client::builder().no_proxy().build().expect("make a client"),
        }
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        self.runtime.block_on(async {
            let response = request.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok(Answer { status, headers, body: response.bytes().await?.into() })
        })
    }

    fn authorize(&self, version: u32, key: &Credentials) -> Answer {
        let url = format!("{}/b2api/v{version}/b2_authorize_account", self.server.endpoint());
        self.send(self.http.get(url).basic_auth(&key.id, Some(&key.secret))).expect("it answers")
    }

    fn token(&self, key: &Credentials) -> String {
        text(&self.authorize(3, key).json()["authorizationToken"])
    }

    fn call(&self, token: &str, call: &str, asked: &Value) -> Answer {
        let url = format!("{}/b2api/v3/{call}", self.server.endpoint());
        let request = self.http.post(url).header("Authorization", token).body(asked.to_string());
        self.send(request).expect("it answers")
    }

    fn bucket(&self, token: &str, name: &str) -> String {
        let asked = json!({ "accountId": "account", "bucketName": name, "bucketType": "allPrivate" });
        text(&self.call(token, "b2_create_bucket", &asked).json()["bucketId"])
    }

    fn upload_url(&self, token: &str, bucket: &str) -> Value {
        self.call(token, "b2_get_upload_url", &json!({ "bucketId": bucket })).json()
    }

    fn upload(&self, url: &Value, name: &str, body: &'static str) -> Result<Answer, reqwest::Error> {
        let request = self.http.post(text(&url["uploadUrl"])).body(body);
        let request = request.header("Authorization", text(&url["authorizationToken"]));
        let request = request.header("X-Bz-File-Name", name).header("Content-Type", "b2/x-auto");
        self.send(request.header("X-Bz-Content-Sha1", "do_not_verify"))
    }

    fn download(&self, token: &str, path: &str, range: Option<&str>) -> Result<Answer, reqwest::Error> {
        let url = format!("{}/file/{path}", self.server.endpoint());
        let mut request = self.http.get(url).header("Authorization", token);
        if let Some(range) = range {
            request = request.header("Range", range);
        }
        self.send(request)
    }

    fn refuses(&self, token: &str, call: &str, asked: &Value, status: u16, code: &str) {
        assert_eq!(self.call(token, call, asked).code(), (status, code.to_owned()), "{call} {asked}");
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("it is text").to_owned()
}

#[test]
fn each_version_of_the_api_answers_in_its_own_shape() {
    let account = Account::new();
    let owner = account.server.credentials();
    let bound = account.server.b2_key(&["listFiles"], Some("bound-bucket"), Some("below/"));
    for version in 1..=2 {
        let answer = account.authorize(version, &bound).json();
        assert_eq!(answer["apiUrl"], account.server.endpoint());
        assert_eq!(answer["allowed"]["bucketName"], "bound-bucket");
        assert_eq!(answer["allowed"]["namePrefix"], "below/");
    }
    let answer = account.authorize(3, &bound).json();
    assert_eq!(answer["apiInfo"]["storageApi"]["bucketName"], "bound-bucket");
    let answer = account.authorize(4, &bound).json();
    assert_eq!(answer["apiInfo"]["storageApi"]["allowed"]["buckets"][0]["name"], "bound-bucket");
    assert_ne!(account.authorize(3, owner).json()["accountId"], owner.id.as_str());
    let wrong = Credentials { id: owner.id.clone(), secret: "another".to_owned() };
    assert_eq!(account.authorize(3, &wrong).code(), (401, "unauthorized".to_owned()));
}

#[test]
fn an_upload_url_takes_one_upload_at_a_time_and_none_after_a_failure() {
    let account = Account::new();
    let token = account.token(account.server.credentials());
    let bucket = account.bucket(&token, "bucket");
    let url = account.upload_url(&token, &bucket);

    let address = account.server.endpoint().strip_prefix("http://").expect("it is plain").to_owned();
    let path = text(&url["uploadUrl"]).split_once(&address).expect("it is the server's").1.to_owned();
    let mut first = TcpStream::connect(&address).expect("connect to the server");
    write!(
        first,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {}\r\nX-Bz-File-Name: first\r\n\
         Content-Type: b2/x-auto\r\nX-Bz-Content-Sha1: do_not_verify\r\nContent-Length: 4\r\n\
         Connection: close\r\n\r\nha",
        text(&url["authorizationToken"])
    )
    .expect("send half of an upload");
    while account.server.b2_counts().get("upload") != Some(&1) {
        std::thread::yield_now();
    }
    let second = account.upload(&url, "second", "whole").expect("it answers");
    assert_eq!(second.code(), (400, "bad_request".to_owned()));
    assert!(text(&second.json()["message"]).starts_with("more than one upload using auth token"));
    first.write_all(b"lf").expect("send the other half");
    let mut answer = String::new();
    first.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(account.download(&token, "bucket/first", None).expect("it answers").body, b"half");

    account.server.b2_faults(&[("upload_503", 1)]);
    assert_eq!(account.upload(&url, "third", "x").expect("it answers").status, 503);
    assert_eq!(account.upload(&url, "third", "x").expect("it answers").status, 401);
    let url = account.upload_url(&token, &bucket);
    assert_eq!(account.upload(&url, "third", "x").expect("it answers").status, 200);
}

#[test]
fn a_key_may_do_what_it_was_made_for() {
    let account = Account::new();
    let server = &account.server;
    let owner = account.token(server.credentials());
    let other = account.bucket(&owner, "another");
    let all = ["listBuckets", "listFiles", "readFiles", "writeFiles"];
    let key = account.token(&server.b2_key(&all, Some("bound-bucket"), None));

    let asked = json!({ "accountId": "account" });
    account.refuses(&key, "b2_list_buckets", &asked, 401, "unauthorized");
    let asked = json!({ "accountId": "account", "bucketName": "bound-bucket" });
    let bucket = text(&account.call(&key, "b2_list_buckets", &asked).json()["buckets"][0]["bucketId"]);
    account.refuses(&key, "b2_get_upload_url", &json!({ "bucketId": other }), 401, "unauthorized");
    let url = account.upload_url(&key, &bucket);
    let file = account.upload(&url, "file", "x").expect("it answers").json();
    let version = json!({ "fileName": "file", "fileId": file["fileId"] });
    account.refuses(&key, "b2_delete_file_version", &version, 401, "unauthorized");
    let hide = json!({ "bucketId": bucket, "fileName": "file" });
    assert_eq!(account.call(&key, "b2_hide_file", &hide).status, 200);
    account.refuses(&key, "b2_hide_file", &hide, 400, "already_hidden");
    assert_eq!(account.download(&key, "bound-bucket/file", None).expect("it answers").status, 404);

    let below = account.token(&server.b2_key(&all, Some("bound-bucket"), Some("below/")));
    account.refuses(&below, "b2_list_file_names", &json!({ "bucketId": bucket }), 401, "unauthorized");
    let url = account.upload_url(&below, &bucket);
    assert_eq!(account.upload(&url, "beside", "x").expect("it answers").status, 401);
    assert_eq!(account.upload(&url, "below/it", "x").expect("it answers").status, 200);
}

#[test]
fn users_have_the_rights_they_were_made_with() {
    let account = Account::new();
    let bucket = account.bucket(&account.token(account.server.credentials()), "bucket");
    let (bucket, names) = (json!({ "bucketId": bucket }), json!({ "accountId": "account" }));
    let stranger = account.token(&account.server.user(Rights::Nothing));
    account.refuses(&stranger, "b2_list_buckets", &names, 401, "unauthorized");
    let reader = account.token(&account.server.user(Rights::Read));
    assert_eq!(account.call(&reader, "b2_list_buckets", &names).status, 200);
    assert_eq!(account.call(&reader, "b2_list_file_names", &bucket).status, 200);
    account.refuses(&reader, "b2_get_upload_url", &bucket, 401, "unauthorized");
}

#[test]
fn versions_are_listed_newest_first_and_page_by_page() {
    let account = Account::new();
    let token = account.token(account.server.credentials());
    let (bucket, other) = (account.bucket(&token, "bucket"), account.bucket(&token, "another"));
    let url = account.upload_url(&token, &bucket);
    for body in ["1", "2", "3"] {
        account.upload(&url, "prefix/twice", body).expect("it answers");
        account
            .upload(&account.upload_url(&token, &other), "prefix/twice", "of another")
            .expect("it answers");
    }
    account.upload(&url, "earlier", "x").expect("it answers");
    assert_eq!(account.download(&token, "bucket/prefix/twice", None).expect("it answers").body, b"3");
    let mut asked = json!({ "bucketId": bucket, "prefix": "prefix/", "maxFileCount": 2 });
    let first = account.call(&token, "b2_list_file_versions", &asked).json();
    asked["startFileName"] = first["nextFileName"].clone();
    asked["startFileId"] = first["nextFileId"].clone();
    let second = account.call(&token, "b2_list_file_versions", &asked).json();
    let files: Vec<_> =
        [&first, &second].iter().flat_map(|page| page["files"].as_array()).flatten().collect();
    assert_eq!(files.len(), 3);
    assert!(second["nextFileName"].is_null());
    for file in files {
        let version = json!({ "fileName": "prefix/twice", "fileId": file["fileId"] });
        assert_eq!(account.call(&token, "b2_delete_file_version", &version).status, 200);
        account.refuses(&token, "b2_delete_file_version", &version, 400, "file_not_present");
    }
    let names = json!({ "bucketId": bucket });
    let names = account.call(&token, "b2_list_file_names", &names).json();
    assert_eq!(names["files"].as_array().map(Vec::len), Some(1));
    assert_eq!(account.download(&token, "another/prefix/twice", None).expect("it answers").status, 200);
    let too_many = json!({ "bucketId": bucket, "maxFileCount": 10_001 });
    account.refuses(&token, "b2_list_file_names", &too_many, 400, "out_of_range");
}

#[test]
fn faults_happen_as_often_as_they_were_ordered() {
    let account = Account::new();
    let server = &account.server;
    let token = account.token(server.credentials());
    let bucket = account.bucket(&token, "bucket");
    let names = json!({ "bucketId": bucket });

    server.b2_faults(&[("api_429", 1)]);
    let busy = account.call(&token, "b2_list_file_names", &names);
    assert_eq!((busy.status, busy.headers["retry-after"].as_bytes()), (429, &b"1"[..]));
    assert_eq!(account.call(&token, "b2_list_file_names", &names).status, 200);
    server.b2_faults(&[("cap_exceeded", 1)]);
    account.refuses(&token, "b2_get_upload_url", &names, 403, "cap_exceeded");

    let url = account.upload_url(&token, &bucket);
    server.b2_faults(&[("upload_reset", 1)]);
    assert!(account.upload(&url, "file", "0123456789").is_err());
    assert_eq!(account.download(&token, "bucket/file", None).expect("it answers").status, 404);
    server.b2_faults(&[("upload_lost", 1)]);
    assert!(account.upload(&url, "file", "0123456789").is_err());

    let read = |range| account.download(&token, "bucket/file", range);
    assert_eq!(read(None).expect("it answers").body, b"0123456789");
    assert_eq!(read(Some("bytes=8-100")).expect("it answers").body, b"89");
    assert_eq!(
        read(Some("bytes=10-11")).expect("it answers").code(),
        (416, "range_not_satisfiable".to_owned())
    );
    server.b2_faults(&[("truncate", 1)]);
    assert!(read(None).is_err());
    server.b2_faults(&[("corrupt", 1)]);
    assert_eq!(read(None).expect("it answers").body, b"1123456789");
    server.b2_faults(&[("expire", 1)]);
    assert_eq!(read(None).expect("it answers").code(), (401, "expired_auth_token".to_owned()));
    account.refuses(&token, "b2_list_file_names", &names, 401, "expired_auth_token");
    assert_eq!(account.call(&account.token(server.credentials()), "b2_list_file_names", &names).status, 200);
}

#[test]
fn restic_rides_out_what_b2_does_every_day() {
    let server = Server::start(Kind::B2, Security::Tls);
    let run = |words: &[&str]| {
        let output = server.restic("bucket", "").args(words).output().expect("start restic");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["init"]);
    server.b2_faults(&[("upload_503", 1), ("upload_401", 1), ("api_503", 1), ("expire", 1)]);
    run(&["backup", concat!(env!("CARGO_MANIFEST_DIR"), "/src")]);
    run(&["check", "--read-data"]);
    assert!(server.b2_counts()["upload"] > 0);
}
