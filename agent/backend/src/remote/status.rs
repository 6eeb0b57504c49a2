//! What an HTTP status means where the vendor's own code says nothing more.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::ErrorKind;

pub(crate) fn kind_of_status(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        404 => ErrorKind::NotFound,
        401 | 403 => ErrorKind::PermissionDenied,
        408 => ErrorKind::Unavailable,
        412 => ErrorKind::AlreadyExists,
        416 => ErrorKind::OutOfRange,
        429 | 503 => ErrorKind::Throttled,
        501 | 505 => ErrorKind::Unsupported,
        507 => ErrorKind::Full,
        500..=599 => ErrorKind::Unavailable,
        _ => ErrorKind::Misconfigured,
    }
}

/// How long the store asks to be left alone: seconds, or a date by its own clock.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    Some(match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = httpdate::parse_http_date(text).ok()?;
            let now = store_time(headers).unwrap_or_else(SystemTime::now);
            until.duration_since(now).unwrap_or_default()
        }
    })
}

/// What the store's clock says.
pub(crate) fn store_time(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get("date")?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_as_seconds_or_as_a_date_of_the_stores_clock() {
        let read = |values: &[(&'static str, &str)]| {
            let headers =
                values.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        let date = ("date", "Sat, 21 Nov 2026 10:00:00 GMT");
        assert_eq!(read(&[("retry-after", "7")]), Some(7));
        assert_eq!(read(&[date, ("retry-after", "Sat, 21 Nov 2026 10:00:09 GMT")]), Some(9));
        assert_eq!(read(&[date, ("retry-after", "Sat, 21 Nov 2026 09:00:00 GMT")]), Some(0));
        assert_eq!(read(&[("retry-after", "soon")]), None);
        assert_eq!(read(&[date]), None);
    }
}
