//! Snapshots: which there are, what is in them, and one file or folder of one, streamed.
//!
//! Only checks what is asked and says what is answered: the reading is [`Readings`]'s. Paths and names are any bytes, of
//! whoever asks and of whoever wrote the file: none comes into a header as it is.
//!
//! [`Readings`]: crate::agent::engine::reading::Readings

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Context;
use super::problem::Problem;
use crate::agent::command::Refused;
use crate::agent::engine::reading::{self, Answer, File, Name, Portion, Unreadable, Wanted};
use crate::agent::view::snapshots::Snapshot;
use crate::percent;

/// No system takes a longer path.
const MAX_PATH_BYTES: usize = 4096;

/// When somebody who was told to come later may come.
const RETRY_AFTER_SECONDS: u32 = 5;

/// What somebody stored must not become a page of ours.
const FOREIGN: [(HeaderName, &str); 3] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

type Id = Result<Path<String>, PathRejection>;

/// The newest first.
pub(super) async fn list(State(context): State<Context>, query: RawQuery) -> Result<Response, Problem> {
    refuse_parameters(&query)?;
    answer(&context, Wanted::Snapshots).await
}

pub(super) async fn show(
    State(context): State<Context>,
    id: Id,
    query: RawQuery,
) -> Result<Response, Problem> {
    refuse_parameters(&query)?;
    answer(&context, Wanted::Snapshot(name(id)?)).await
}

/// What a folder holds.
pub(super) async fn files(
    State(context): State<Context>,
    id: Id,
    query: RawQuery,
) -> Result<Response, Problem> {
    answer(&context, Wanted::Files(name(id)?, path(&query)?)).await
}

/// What a file holds, all or a part of it.
pub(super) async fn content(
    State(context): State<Context>,
    id: Id,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(&context, Wanted::Content(name(id)?, path(&query)?, portion(&headers))).await
}

/// A folder, as a tar archive.
pub(super) async fn archive(
    State(context): State<Context>,
    id: Id,
    query: RawQuery,
) -> Result<Response, Problem> {
    answer(&context, Wanted::Archive(name(id)?, path(&query)?)).await
}

async fn answer(context: &Context, wanted: Wanted) -> Result<Response, Problem> {
    let config = context.handle.state().config.clone().ok_or(Refused::NoSettings)?;
    let read = context.readings.read(config, wanted, context.runtime.clone(), &context.stop).await?;
    Ok(match read {
        Answer::Snapshots(snapshots) => Json(snapshots).into_response(),
        Answer::Snapshot(snapshot) => Json::<Snapshot>(*snapshot).into_response(),
        Answer::Listing(body) => {
            let kind = HeaderValue::from_static("application/json");
            (FOREIGN, [(header::CONTENT_TYPE, kind)], stream(body)).into_response()
        }
        Answer::File(file, body) => file_response(&file, body),
        Answer::Archive { name, body } => {
            let kind = HeaderValue::from_static("application/x-tar");
            let headers = [(header::CONTENT_TYPE, kind), attachment(&[&name[..], b".tar"].concat())];
            (FOREIGN, headers, stream(body)).into_response()
        }
    })
}

fn file_response(file: &File, body: reading::Body) -> Response {
    let File { name, size_bytes, part, tag } = file;
    let length = part.as_ref().map_or(*size_bytes, |part| part.end - part.start);
    let quoted = HeaderValue::try_from(format!("\"{tag}\"")).expect("hex digits");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
        (header::ETAG, quoted),
        attachment(name),
    ];
    let whole = (FOREIGN, headers, stream(body));
    match part {
        None => whole.into_response(),
        Some(part) => {
            let range = format!("bytes {}-{}/{size_bytes}", part.start, part.end - 1);
            let range = (header::CONTENT_RANGE, HeaderValue::try_from(range).expect("digits"));
            (StatusCode::PARTIAL_CONTENT, [range], whole).into_response()
        }
    }
}

fn stream(body: reading::Body) -> Body {
    Body::from_stream(body.into_stream())
}

/// A name as a file of whoever asked gets it (RFC 6266): nothing in it ends the header, leads anywhere or is hidden.
fn attachment(name: &[u8]) -> (HeaderName, HeaderValue) {
    let text: String = String::from_utf8_lossy(name)
        .chars()
        .map(|c| if c.is_control() || matches!(c, '/' | '\\') { '_' } else { c })
        .collect();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ' | '+');
    let plain: String = text.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let exact = percent::encode(text.as_bytes());
    let value = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}");
    (header::CONTENT_DISPOSITION, HeaderValue::try_from(value).expect("printable ASCII"))
}

/// `latest`, or the beginning of an ID. What can be none is as unknown as one that nobody has.
fn name(id: Id) -> Result<Name, Problem> {
    let is_beginning = |text: &str| {
        (1..=64).contains(&text.len()) && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    };
    match id {
        Ok(Path(text)) if text == "latest" => Ok(Name::Latest),
        Ok(Path(text)) if is_beginning(&text) => Ok(Name::Prefix(text)),
        _ => Err(Unreadable::NoSuchSnapshot.into()),
    }
}

fn refuse_parameters(RawQuery(query): &RawQuery) -> Result<(), Problem> {
    match query.as_deref() {
        None | Some("") => Ok(()),
        Some(_) => Err(Problem::bad_parameter("this takes no parameters")),
    }
}

/// The one parameter `path`: absolute, without `.` and `..`, any bytes but zero.
fn path(RawQuery(query): &RawQuery) -> Result<Vec<u8>, Problem> {
    let refused = |why: &str| Err(Problem::bad_parameter(format!("path: {why}")));
    let mut parameters = query.as_deref().unwrap_or_default().split('&').filter(|part| !part.is_empty());
    let (Some(parameter), None) = (parameters.next(), parameters.next()) else {
        return refused("has to be there, once, and nothing beside it");
    };
    let Some(value) = parameter.strip_prefix("path=") else {
        return refused("has to be there, and nothing else");
    };
    let Ok(path) = percent::decode(value) else {
        return refused("has a percent sign that two hex digits do not follow");
    };
    if path.len() > MAX_PATH_BYTES {
        return refused("is longer than a path can be");
    }
    if !path.starts_with(b"/") {
        return refused("is not absolute: it begins with a slash");
    }
    if path.contains(&0) {
        return refused("holds a zero byte");
    }
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    if names.iter().any(|name| matches!(*name, b"." | b"..")) {
        return refused("holds . or ..: write the path itself");
    }
    Ok([b"/", &names.join(&b'/')[..]].concat())
}

/// What the headers ask for. One range; what is not understood asks for nothing (RFC 9110).
fn portion(headers: &HeaderMap) -> Portion {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let tag = text(header::IF_RANGE).map(|tag| tag.trim_matches('"').to_owned());
    let asked = || {
        let (first, last) = text(header::RANGE)?.strip_prefix("bytes=")?.split_once('-')?;
        // No sign, no blank: digits.
        let number =
            |text: &str| text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?;
        Some(match (first, last) {
            ("", last) => Portion::Last { count: number(last)?, tag },
            (first, "") => Portion::From { first: number(first)?, last: None, tag },
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Portion::From { first, last: Some(last), tag })?
            }
        })
    };
    asked().unwrap_or(Portion::Whole)
}

impl From<Unreadable> for Problem {
    fn from(unreadable: Unreadable) -> Self {
        let (status, code) = match &unreadable {
            Unreadable::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Unreadable::NoCredentials(_) => (StatusCode::SERVICE_UNAVAILABLE, "no-credentials"),
            Unreadable::NoRepository(_) => (StatusCode::SERVICE_UNAVAILABLE, "no-repository"),
            Unreadable::NoSuchSnapshot => (StatusCode::NOT_FOUND, "no-such-snapshot"),
            Unreadable::Ambiguous => (StatusCode::CONFLICT, "ambiguous-snapshot"),
            Unreadable::NoSuchEntry => (StatusCode::NOT_FOUND, "no-such-entry"),
            Unreadable::NotAFile => (StatusCode::NOT_FOUND, "not-a-file"),
            Unreadable::NotAFolder => (StatusCode::NOT_FOUND, "not-a-folder"),
            Unreadable::OutOfRange { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "out-of-range"),
            Unreadable::LargeFolder(_) => (StatusCode::UNPROCESSABLE_ENTITY, "large-folder"),
            Unreadable::Locked(_) => (StatusCode::SERVICE_UNAVAILABLE, "locked"),
            Unreadable::Silent => (StatusCode::GATEWAY_TIMEOUT, "silent-store"),
            Unreadable::Ended => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            Unreadable::Failed(_) => (StatusCode::BAD_GATEWAY, "unreadable"),
        };
        let problem = Self::new(status, code, unreadable.to_string());
        match unreadable {
            Unreadable::Busy | Unreadable::Locked(_) => {
                problem.with(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS))
            }
            Unreadable::OutOfRange { size_bytes } => {
                let range = HeaderValue::try_from(format!("bytes */{size_bytes}")).expect("digits");
                problem.with(header::CONTENT_RANGE, range)
            }
            _ => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_and_clean_and_any_bytes() {
        let parse = |query: &str| path(&RawQuery(Some(query.to_owned())));
        for (query, expected) in [
            ("path=/", &b"/"[..]),
            ("path=%2F", b"/"),
            ("path=//a//b/", b"/a/b"),
            ("path=/a%20b+c%2B", b"/a b c+"),
            ("path=/%ff%0A", b"/\xff\n"),
            ("path=/...", b"/..."),
            ("&path=/a&", b"/a"),
        ] {
            assert_eq!(parse(query).unwrap(), expected, "{query}");
        }
        let long = format!("path=/{}", "a".repeat(MAX_PATH_BYTES));
        for (query, why) in [
            ("", "has to be there"),
            ("path", "has to be there"),
            ("path=", "is not absolute"),
            ("path=a", "is not absolute"),
            ("path=/a&path=/b", "once"),
            ("path=/a&x=1", "nothing beside it"),
            ("Path=/a", "nothing else"),
            ("path=/a%", "percent sign"),
            ("path=/a%2", "percent sign"),
            ("path=/a%u0041", "percent sign"),
            ("path=/a%00b", "zero byte"),
            ("path=/..", "holds . or .."),
            ("path=/a/%2e%2E/b", "holds . or .."),
            ("path=/a%2f..%2fb", "holds . or .."),
            ("path=/./a", "holds . or .."),
            (&long, "longer"),
        ] {
            let problem = format!("{:?}", parse(query).unwrap_err());
            assert!(problem.contains(why) && problem.contains("bad-parameter"), "{query}: {problem}");
        }
    }

    #[test]
    fn a_snapshot_is_named_by_hex_digits_or_as_the_latest() {
        let parse = |text: &str| name(Ok(Path(text.to_owned()))).ok();
        assert_eq!(parse("latest"), Some(Name::Latest));
        assert_eq!(parse("0af9"), Some(Name::Prefix("0af9".to_owned())));
        for text in ["", "..", "../latest", "LATEST", "0AF9", "0a\n", "0a\0", "g", &"a".repeat(65)] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_name_of_a_file_ends_its_header_or_leads_elsewhere() {
        for (name, expected) in [
            (&b"plain.txt"[..], "attachment; filename=\"plain.txt\"; filename*=UTF-8''plain.txt"),
            (b"a\"; x=\"b", "attachment; filename=\"a__ x__b\"; filename*=UTF-8''a%22%3B%20x%3D%22b"),
            (
                b"a\r\nSet-Cookie: x",
                "attachment; filename=\"a__Set-Cookie_ x\"; filename*=UTF-8''a__Set-Cookie%3A%20x",
            ),
            ("gr\u{fc}n".as_bytes(), "attachment; filename=\"gr_n\"; filename*=UTF-8''gr%C3%BCn"),
            (b"\xff\\", "attachment; filename=\"__\"; filename*=UTF-8''%EF%BF%BD_"),
        ] {
            assert_eq!(attachment(name).1, expected);
        }
    }

    #[test]
    fn one_range_of_bytes_is_understood_and_nothing_else_asks_for_a_part() {
        let of = |range: &str| portion(&HeaderMap::from_iter([(header::RANGE, range.parse().unwrap())]));
        assert_eq!(of("bytes=0-4"), Portion::From { first: 0, last: Some(4), tag: None });
        assert_eq!(of("bytes=7-"), Portion::From { first: 7, last: None, tag: None });
        assert_eq!(of("bytes=-7"), Portion::Last { count: 7, tag: None });
        for odd in [
            "bytes=",
            "bytes=-",
            "bytes=4-0",
            "bytes=0-1,3-4",
            "bytes=+1-2",
            "bytes= 1-2",
            "lines=1-2",
            "bytes=1",
        ] {
            assert_eq!(of(odd), Portion::Whole, "{odd}");
        }
        let tagged = [(header::RANGE, "bytes=7-"), (header::IF_RANGE, "\"ab\"")];
        let tagged =
            portion(&tagged.map(|(name, value)| (name, value.parse().unwrap())).into_iter().collect());
        assert_eq!(tagged, Portion::From { first: 7, last: None, tag: Some("ab".to_owned()) });
    }
}
