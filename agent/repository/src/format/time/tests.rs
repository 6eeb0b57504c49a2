use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::{Timestamp, civil_from_days, days_from_civil};

fn at(seconds: i64, nanoseconds: u32) -> Timestamp {
    Timestamp { seconds, nanoseconds }
}

#[test]
fn any_offset_is_read_and_utc_is_written() {
    let cases = [
        ("1970-01-01T00:00:00Z", at(0, 0), "1970-01-01T00:00:00Z"),
        ("2024-02-29T23:30:00.5+02:00", at(1_709_242_200, 500_000_000), "2024-02-29T21:30:00.5Z"),
        ("2024-03-01T00:00:00.000000001-11:30", at(1_709_292_600, 1), "2024-03-01T11:30:00.000000001Z"),
        ("1969-12-31T23:59:59.999999999Z", at(-1, 999_999_999), "1969-12-31T23:59:59.999999999Z"),
        ("2000-01-01T00:00:00.1234567899Z", at(946_684_800, 123_456_789), "2000-01-01T00:00:00.123456789Z"),
        ("2000-01-01T00:00:00.120Z", at(946_684_800, 120_000_000), "2000-01-01T00:00:00.12Z"),
        ("0001-01-01T00:00:00Z", at(-62_135_596_800, 0), "0001-01-01T00:00:00Z"),
        ("0000-01-01T00:00:00Z", at(-62_167_219_200, 0), "0000-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59Z", at(253_402_300_799, 0), "9999-12-31T23:59:59Z"),
        ("2000-01-01T00:00:00+00:00", at(946_684_800, 0), "2000-01-01T00:00:00Z"),
    ];
    for (text, instant, written) in cases {
        assert_eq!(text.parse::<Timestamp>().unwrap(), instant, "{text}");
        assert_eq!(instant.to_string(), written);
    }
}

#[test]
fn what_go_refuses_is_refused() {
    for text in [
        "",
        "2000-01-01",
        "2000-01-01T00:00:00",
        "2000-01-01t00:00:00Z",
        "2000-01-01T00:00:00z",
        "2000-01-01 00:00:00Z",
        "2000-01-01T00:00:60Z",
        "2000-01-01T24:00:00Z",
        "2000-13-01T00:00:00Z",
        "2000-00-01T00:00:00Z",
        "2000-01-00T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2001-02-29T00:00:00Z",
        "2000-04-31T00:00:00Z",
        "2000-01-01T00:00:00.Z",
        "2000-01-01T00:00:00,5Z",
        "2000-01-01T00:00:00+24:00",
        "2000-01-01T00:00:00+0100",
        "2000-01-01T00:00:00+01:60",
        "2000-01-01T00:00:00Z ",
        "+2000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
    ] {
        assert!(text.parse::<Timestamp>().is_err(), "{text:?} was taken");
    }
}

#[test]
fn years_outside_the_format_are_clamped_and_the_rest_of_the_date_stays() {
    // 12345-02-28, 12344-02-29 (a leap day), -5-06-07 and the ends of the type.
    let cases = [
        (days_from_civil(12_345, 2, 28), "9999-02-28T00:00:01.5Z"),
        (days_from_civil(12_344, 2, 29), "9999-03-01T00:00:01.5Z"),
        (days_from_civil(-5, 6, 7), "0000-06-07T00:00:01.5Z"),
    ];
    for (days, expected) in cases {
        assert_eq!(at(days * 86_400 + 1, 500_000_000).to_string(), expected);
    }
    assert_eq!(&at(i64::MAX, 0).to_string()[..4], "9999");
    assert_eq!(&at(i64::MIN, 0).to_string()[..4], "0000");
}

#[test]
fn differences_are_exact_across_the_second() {
    assert_eq!(at(5, 100).since(at(3, 200)), Some(Duration::new(1, 999_999_900)));
    assert_eq!(at(5, 100).since(at(5, 100)), Some(Duration::ZERO));
    assert_eq!(at(5, 100).since(at(5, 101)), None);
    assert_eq!(at(i64::MAX, 0).since(at(i64::MIN, 0)), Some(Duration::from_secs(u64::MAX)));
    assert_eq!(at(0, 0).saturating_sub(Duration::from_nanos(1)), at(-1, 999_999_999));
    assert_eq!(at(i64::MIN, 5).saturating_sub(Duration::from_secs(1)), at(i64::MIN, 0));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(seconds in -62_167_219_200_i64..=253_402_300_799, nanoseconds in 0_u32..1_000_000_000) {
        let instant = at(seconds, nanoseconds);
        let mut text = Vec::new();
        instant.write_to(&mut text);
        prop_assert_eq!(String::from_utf8(text).unwrap().parse::<Timestamp>().unwrap(), instant);
        prop_assert_eq!(serde_json::from_str::<Timestamp>(&serde_json::to_string(&instant).unwrap()).unwrap(), instant);
    }

    #[test]
    fn days_and_dates_are_inverse(days in -4_000_000_i64..4_000_000) {
        let (year, month, day) = civil_from_days(days);
        prop_assert_eq!(days_from_civil(year, month, day), days);
    }

    #[test]
    fn the_system_s_time_survives(seconds in -1_000_000_000_000_i64..1_000_000_000_000, nanoseconds in 0_u32..1_000_000_000) {
        let instant = at(seconds, nanoseconds);
        let system = instant.to_system_time().unwrap();
        prop_assert_eq!(Timestamp::from(system), instant);
        prop_assert_eq!(system >= UNIX_EPOCH, seconds >= 0);
    }

    #[test]
    fn no_text_panics(text in "\\PC*|[0-9TZ:.+-]{0,40}") {
        let _ = text.parse::<Timestamp>();
    }
}
