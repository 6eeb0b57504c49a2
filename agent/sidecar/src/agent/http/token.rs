//! Tokens: one that lies in a mounted file, or one that is signed for this agent and a few minutes, or the cookie that
//! the page got for one of these.
//!
//! Compared in constant time, never told, never logged. What is wrong with a token is not told either.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use chrono::Utc;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use super::Context;
use super::problem::Problem;
use crate::agent::config::http::Http;
use crate::file;

const COOKIE: &str = "pillion";

/// How long a page stays open without a new token.
const SESSION_SECONDS: i64 = 12 * 60 * 60;

/// A signed token that would be good for longer is none.
const MAX_SIGNED_SECONDS: i64 = 15 * 60;

/// Our clock and the signer's.
const MAX_SKEW_SECONDS: i64 = 60;

const MAX_TOKEN_BYTES: u64 = 4096;

/// Makes and knows the page's cookies. They end with the process.
#[derive(Debug)]
pub(super) struct Sessions(hmac::Key);

impl Sessions {
    pub(super) fn new() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    /// What the browser is told to show from now on.
    pub(super) fn cookie(&self, now_seconds: i64) -> HeaderValue {
        let until = (now_seconds + SESSION_SECONDS).to_string();
        let proof = BASE64URL_NOPAD.encode(hmac::sign(&self.0, until.as_bytes()).as_ref());
        let cookie =
            format!("{COOKIE}={until}.{proof}; Max-Age={SESSION_SECONDS}; Path=/; HttpOnly; SameSite=Strict");
        cookie.parse().expect("digits and letters")
    }

    fn knows(&self, headers: &HeaderMap, now_seconds: i64) -> bool {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies.flat_map(|cookies| cookies.split(';')).any(|cookie| {
            let Some((COOKIE, value)) = cookie.trim().split_once('=') else { return false };
            let Some((until, proof)) = value.split_once('.') else { return false };
            let is_ours = BASE64URL_NOPAD
                .decode(proof.as_bytes())
                .is_ok_and(|proof| hmac::verify(&self.0, until.as_bytes(), &proof).is_ok());
            is_ours && until.parse().is_ok_and(|until: i64| now_seconds < until)
        })
    }
}

/// Whether who asks has shown a token or a cookie.
pub(super) fn check(context: &Context, headers: &HeaderMap) -> Result<(), Problem> {
    let now = Utc::now().timestamp();
    if context.sessions.knows(headers, now) {
        return Ok(());
    }
    let http = context.http();
    if http.token_file.is_none() && http.key.is_none() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "no-token-set",
            "this needs a token and none is set: set controlTokenFile, or ask over the Unix socket",
        ));
    }
    let Some(token) = bearer(headers) else {
        let detail = "this needs the header Authorization, with Bearer and the token";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "token-missing", detail));
    };
    match is_that_of_the_file(&http, token) || is_signed(&http, token, now) {
        true => Ok(()),
        false => Err(Problem::new(StatusCode::UNAUTHORIZED, "token-wrong", "this token is not accepted")),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A file that cannot be read, or is empty, lets nobody in.
fn is_that_of_the_file(http: &Http, token: &str) -> bool {
    let Some(path) = &http.token_file else { return false };
    let Ok(bytes) = file::read_regular(path, MAX_TOKEN_BYTES) else { return false };
    let expected = bytes.trim_ascii();
    !expected.is_empty() && verify_slices_are_equal(expected, token.as_bytes()).is_ok()
}

#[derive(Deserialize)]
struct Head {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    aud: String,
    exp: i64,
}

/// A JSON Web Token (RFC 7519) with an Ed25519 signature (RFC 8037), and no other.
fn is_signed(http: &Http, token: &str, now_seconds: i64) -> bool {
    let signed = || {
        let (said, signature) = token.rsplit_once('.')?;
        let (head, claims) = said.split_once('.')?;
        let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).ok();
        let key = UnparsedPublicKey::new(&ED25519, http.key.as_ref()?);
        key.verify(said.as_bytes(), &decode(signature)?).ok()?;
        let head: Head = serde_json::from_slice(&decode(head)?).ok()?;
        let claims: Claims = serde_json::from_slice(&decode(claims)?).ok()?;
        (head.alg == "EdDSA").then_some(claims)
    };
    signed().is_some_and(|claims| {
        let left = claims.exp.saturating_sub(now_seconds);
        claims.aud == http.instance()
            && left > -MAX_SKEW_SECONDS
            && left <= MAX_SIGNED_SECONDS + MAX_SKEW_SECONDS
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::{Value, json};

    use super::*;

    fn http() -> Http {
        Http { instance: Some("pod-1".to_owned()), ..Http::usual(Path::new("/c")) }
    }

    fn token(pair: &Ed25519KeyPair, head: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let said = format!("{}.{}", part(head), part(claims));
        let signature = BASE64URL_NOPAD.encode(pair.sign(said.as_bytes()).as_ref());
        format!("{said}.{signature}")
    }

    #[test]
    fn a_signed_token_is_good_for_one_agent_and_a_few_minutes() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let http = Http { key: Some(pair.public_key().as_ref().to_vec()), ..http() };
        let (head, good) = (json!({"alg": "EdDSA"}), json!({"aud": "pod-1", "exp": 1300}));
        assert!(is_signed(&http, &token(&pair, &head, &good), 1000));
        for (head, claims) in [
            (&head, json!({"aud": "pod-2", "exp": 1300})),
            (&head, json!({"aud": "pod-1", "exp": 900})),
            (&head, json!({"aud": "pod-1", "exp": 1000 + 86_400})),
            (&head, json!({"aud": "pod-1", "exp": i64::MIN})),
            (&head, json!({"aud": "pod-1"})),
            (&json!({"alg": "none"}), good.clone()),
        ] {
            assert!(!is_signed(&http, &token(&pair, head, &claims), 1000), "{head} {claims}");
        }
        let other = Ed25519KeyPair::generate().unwrap();
        assert!(!is_signed(&http, &token(&other, &head, &good), 1000));
        for broken in ["", ".", "..", "a.b.c", &token(&pair, &head, &good)[1..]] {
            assert!(!is_signed(&http, broken, 1000), "{broken}");
        }
        assert!(!is_signed(&Http { key: None, ..http }, &token(&pair, &head, &good), 1000));
    }

    #[test]
    fn the_files_token_is_taken_without_its_line_end_and_an_empty_file_lets_nobody_in() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let http = Http { token_file: Some(file.path().to_owned()), ..http() };
        std::fs::write(file.path(), "hunter2\n").unwrap();
        assert!(is_that_of_the_file(&http, "hunter2"));
        assert!(!is_that_of_the_file(&http, "hunter") && !is_that_of_the_file(&http, ""));
        std::fs::write(file.path(), "\n").unwrap();
        assert!(!is_that_of_the_file(&http, ""));
        std::fs::remove_file(file.path()).unwrap();
        assert!(!is_that_of_the_file(&http, ""));
    }

    #[test]
    fn a_cookie_is_good_for_its_time_and_for_who_made_it() {
        let sessions = Sessions::new().unwrap();
        let shown = |cookie: &HeaderValue| {
            let value = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
            HeaderMap::from_iter([(header::COOKIE, format!("a=b; {value}").parse().unwrap())])
        };
        let cookie = sessions.cookie(1000);
        assert!(cookie.to_str().unwrap().ends_with("; HttpOnly; SameSite=Strict"));
        assert!(sessions.knows(&shown(&cookie), 1000 + SESSION_SECONDS - 1));
        assert!(!sessions.knows(&shown(&cookie), 1000 + SESSION_SECONDS));
        assert!(!Sessions::new().unwrap().knows(&shown(&cookie), 1000));
        assert!(!sessions.knows(&HeaderMap::new(), 1000));
    }
}
