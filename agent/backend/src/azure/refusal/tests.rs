use reqwest::header::{HeaderName, HeaderValue};

use super::*;

fn refusal(status: u16, headers: &[(&'static str, &str)], body: &str) -> Refusal {
    let headers = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    let heard = Heard::default();
    heard.note();
    Refusal::new(StatusCode::from_u16(status).unwrap(), headers, body, &heard)
}

fn body(code: &str, detail: &str) -> String {
    format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code>\
         <Message>It is so.\nRequestId:1\nTime:2026-11-21T10:00:00Z</Message>{detail}</Error>"
    )
}

fn hint() -> Hint {
    Hint { credentials: "look here".to_owned(), rights: "look there" }
}

fn kind_and_sentence(refusal: Refusal) -> (ErrorKind, String) {
    match refusal.into_failed(&hint()) {
        Failed::NoContainer(why) => panic!("{why}"),
        Failed::Because { kind, why, .. } => (kind, why.to_string()),
    }
}

#[test]
fn each_code_has_its_kind_in_a_body_and_in_a_header() {
    for (status, code, expected) in [
        (404, "BlobNotFound", ErrorKind::NotFound),
        (404, "ResourceNotFound", ErrorKind::Misconfigured),
        (503, "ServerBusy", ErrorKind::Throttled),
        (500, "OperationTimedOut", ErrorKind::Throttled),
        (500, "InternalError", ErrorKind::Unavailable),
        (409, "AccountBeingCreated", ErrorKind::Unavailable),
        (409, "ContainerBeingDeleted", ErrorKind::Unavailable),
        (409, "WordOfTheFuture", ErrorKind::Unavailable),
        (409, "BlobAlreadyExists", ErrorKind::AlreadyExists),
        (409, "ContainerAlreadyExists", ErrorKind::AlreadyExists),
        (412, "ConditionNotMet", ErrorKind::AlreadyExists),
        (412, "LeaseIdMissing", ErrorKind::PermissionDenied),
        (409, "BlobImmutableDueToPolicy", ErrorKind::PermissionDenied),
        (409, "SnapshotsPresent", ErrorKind::PermissionDenied),
        (409, "PublicAccessNotPermitted", ErrorKind::PermissionDenied),
        (409, "BlobArchived", ErrorKind::Unsupported),
        (409, "InvalidBlobType", ErrorKind::Misconfigured),
        (416, "InvalidRange", ErrorKind::OutOfRange),
        (400, "Md5Mismatch", ErrorKind::UnusableBody),
        (400, "InvalidResourceName", ErrorKind::Misconfigured),
        (400, "InvalidHeaderValue", ErrorKind::Misconfigured),
        (400, "AccountRequiresHttps", ErrorKind::Misconfigured),
        (400, "InvalidAuthenticationInfo", ErrorKind::PermissionDenied),
        (401, "NoAuthenticationInformation", ErrorKind::PermissionDenied),
        (403, "AuthenticationFailed", ErrorKind::PermissionDenied),
        (403, "AuthorizationFailure", ErrorKind::PermissionDenied),
        (403, "AuthorizationPermissionMismatch", ErrorKind::PermissionDenied),
        (403, "AuthorizationProtocolMismatch", ErrorKind::PermissionDenied),
        (403, "KeyBasedAuthenticationNotPermitted", ErrorKind::PermissionDenied),
        (403, "AccountIsDisabled", ErrorKind::PermissionDenied),
    ] {
        for refusal in
            [refusal(status, &[], &body(code, "")), refusal(status, &[("x-ms-error-code", code)], "")]
        {
            let (kind, sentence) = kind_and_sentence(refusal);
            assert!(kind == expected && sentence.contains(code), "{code}: {kind:?}: {sentence}");
            assert!(!sentence.contains("RequestId"), "{sentence}");
        }
    }
}

#[test]
fn a_container_that_is_not_there_is_no_file_that_is_not_there() {
    for refusal in [
        refusal(404, &[], &body("ContainerNotFound", "")),
        refusal(404, &[("x-ms-error-code", "ContainerNotFound")], ""),
    ] {
        assert!(matches!(refusal.into_failed(&hint()), Failed::NoContainer(_)));
    }
}

#[test]
fn without_a_code_the_status_decides() {
    for (status, expected) in [
        // Of the ingress: the container may be full of blobs.
        (404, ErrorKind::Unavailable),
        (429, ErrorKind::Throttled),
        (502, ErrorKind::Unavailable),
        (407, ErrorKind::Misconfigured),
    ] {
        let (kind, sentence) = kind_and_sentence(refusal(status, &[], "<html>some proxy</html>"));
        assert_eq!(kind, expected);
        assert!(sentence.starts_with(&format!("the store answers {status}")), "{sentence}");
        assert!(sentence.contains(": some proxy"), "{sentence}");
    }
}

#[test]
fn a_right_that_is_missing_is_told_with_what_to_look_at() {
    for (code, is_hinted) in [("AuthorizationFailure", true), ("AccountIsDisabled", false)] {
        let (_, sentence) = kind_and_sentence(refusal(403, &[], &body(code, "")));
        assert_eq!(sentence.ends_with("; look there"), is_hinted, "{sentence}");
    }
}

#[test]
fn a_wait_the_store_asks_for_is_passed_on() {
    match refusal(503, &[("retry-after", "7")], &body("ServerBusy", "")).into_failed(&hint()) {
        Failed::Because { retry_after, .. } => assert_eq!(retry_after, Some(Duration::from_secs(7))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_clock_that_is_wrong_is_told_with_the_stores_time() {
    let past = "Sat, 21 Nov 2020 10:00:00 GMT";
    let now = httpdate::fmt_http_date(SystemTime::now());
    let detail = "<AuthenticationErrorDetail>Request date header too old: 'x'</AuthenticationErrorDetail>";
    for (date, body, is_skew) in [
        (past, body("AuthenticationFailed", detail), true),
        (past, body("AuthenticationFailed", ""), true),
        (&now, body("AuthenticationFailed", detail), true),
        (&now, body("AuthenticationFailed", ""), false),
        (past, body("AuthorizationPermissionMismatch", ""), false),
    ] {
        let (kind, sentence) = kind_and_sentence(refusal(403, &[("date", date)], &body));
        assert_eq!(kind, ErrorKind::PermissionDenied);
        let says = sentence.contains(&format!("the store's clock says {date}: set this machine's"));
        assert_eq!(says, is_skew, "{sentence}");
    }
}

#[test]
fn of_the_details_only_those_are_shown_that_hold_no_signature() {
    for (detail, is_shown) in [
        ("Signature not valid in the specified time frame: Start [a] - Expiry [b] - Current [c]", true),
        ("Lifetime validation failed. The token is expired.", true),
        ("The MAC signature found in the HTTP request 'hunter2' is not the same as any computed one.", false),
        ("Signature did not match. String to sign used was hunter2", false),
    ] {
        let xml = format!("<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail>");
        let (_, sentence) = kind_and_sentence(refusal(403, &[], &body("AuthenticationFailed", &xml)));
        assert!(sentence.contains("(AuthenticationFailed): look here"), "{sentence}");
        assert_eq!(sentence.contains(detail.trim_end_matches('.')), is_shown, "{sentence}");
        assert!(!sentence.contains("hunter2"), "{sentence}");
    }
}

#[test]
fn credentials_that_are_not_accepted_are_told_from_rights_that_are_missing() {
    for (status, code, of_credentials, of_rights) in [
        (401, "", true, false),
        (401, "InvalidAuthenticationInfo", true, false),
        (403, "AuthenticationFailed", true, false),
        (403, "AuthorizationFailure", false, true),
        (403, "AuthorizationPermissionMismatch", false, true),
        (403, "AuthorizationResourceTypeMismatch", false, true),
        (403, "AuthorizationSourceIPMismatch", false, false),
        (403, "AccountIsDisabled", false, false),
    ] {
        let refusal = refusal(status, &[("x-ms-error-code", code)], "");
        assert_eq!(
            (refusal.is_of_credentials(), refusal.is_of_rights()),
            (of_credentials, of_rights),
            "{code}"
        );
    }
}
