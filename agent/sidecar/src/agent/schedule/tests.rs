//! The schedule against robfig's answers, and over every change of the clock from 2024 to 2030.

use chrono::{Datelike, NaiveDate, Offset};

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a test's time is RFC 3339")
}

fn schedule(expression: &str, zone: &str) -> Schedule {
    Schedule::parse(expression, Some(zone.parse().unwrap())).unwrap()
}

#[test]
fn every_answer_is_robfigs_away_from_changes_of_the_clock() {
    let table = include_str!("../../../fixtures/robfig-cron.tsv");
    let mut rows = 0;
    for row in table.lines().filter(|row| !row.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [zone, expression, instant, next] = columns[..] else { panic!("four columns, not {row:?}") };
        rows += 1;
        let parsed = Schedule::parse(expression, Some(zone.parse().unwrap()));
        if instant == "-" {
            assert!(parsed.is_err(), "robfig refuses {expression:?}, or it never comes");
            continue;
        }
        let found = parsed.unwrap().next_after(at(instant));
        assert_eq!(found, Some(at(next)), "{expression:?} in {zone} after {instant}");
    }
    assert!(rows > 1_500, "the table holds {rows} rows only");
}

#[test]
fn the_first_day_of_the_week_is_monday_and_seven_is_sunday() {
    // 2026-11-16 is a Monday.
    let monday = schedule("0 3 * * 1", "UTC").next_after(at("2026-11-14T00:00:00Z")).unwrap();
    assert_eq!(monday, at("2026-11-16T03:00:00Z"));
    for sunday in ["0 3 * * 7", "0 3 * * 0", "0 3 * * SUN", "0 3 * * sun"] {
        let found = schedule(sunday, "UTC").next_after(at("2026-11-16T00:00:00Z")).unwrap();
        assert_eq!(found, at("2026-11-22T03:00:00Z"), "{sunday}");
    }
    let weekend = schedule("0 3 * * 6-7", "UTC").next_after(at("2026-11-21T03:00:00Z")).unwrap();
    assert_eq!(weekend, at("2026-11-22T03:00:00Z"));
}

#[test]
fn what_never_comes_is_refused_with_a_sentence() {
    for expression in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *"] {
        let sentence = Schedule::parse(expression, None).unwrap_err();
        assert!(sentence.contains("never comes"), "{sentence}");
    }
}

#[test]
fn two_zones_that_differ_are_refused_and_one_is_enough() {
    let berlin = schedule("CRON_TZ=Europe/Berlin 0 3 * * *", "Europe/Berlin");
    assert_eq!(berlin.next_after(at("2026-11-21T00:00:00Z")), Some(at("2026-11-21T02:00:00Z")));
    assert_eq!(Schedule::parse("TZ=Asia/Tokyo 0 3 * * *", None).unwrap().zone(), Tz::Asia__Tokyo);
    assert!(Schedule::parse("TZ=Asia/Tokyo 0 3 * * *", Some(Tz::UTC)).unwrap_err().contains("keep one"));
    assert!(Schedule::parse("TZ=Mars/Olympus 0 3 * * *", None).unwrap_err().contains("no time zone"));
}

#[test]
fn a_skipped_hour_runs_once_right_after_the_gap() {
    // Berlin, 2026-03-29: 02:00 becomes 03:00 at 01:00Z.
    let nightly = schedule("30 2 * * *", "Europe/Berlin");
    let first = nightly.next_after(at("2026-03-28T12:00:00Z")).unwrap();
    assert_eq!(first, at("2026-03-29T01:00:00Z"));
    assert_eq!(nightly.next_after(first), Some(at("2026-03-30T00:30:00Z")));
    let quarters = schedule("*/15 2 * * *", "Europe/Berlin");
    assert_eq!(quarters.next_after(at("2026-03-28T12:00:00Z")), Some(first));
    assert_eq!(
        quarters.next_after(first),
        Some(at("2026-03-30T00:00:00Z")),
        "once, not once for each quarter"
    );
}

#[test]
fn a_doubled_hour_runs_once() {
    // Berlin, 2026-10-25: 03:00 becomes 02:00 at 01:00Z.
    let nightly = schedule("30 2 * * *", "Europe/Berlin");
    let first = nightly.next_after(at("2026-10-24T12:00:00Z")).unwrap();
    assert_eq!(first, at("2026-10-25T00:30:00Z"));
    assert_eq!(nightly.next_after(first), Some(at("2026-10-26T01:30:00Z")));
}

/// The instants from 2024 to 2030 at which the zone's offset changes.
fn changes(zone: Tz) -> Vec<DateTime<Utc>> {
    let offset = |instant: DateTime<Utc>| zone.offset_from_utc_datetime(&instant.naive_utc()).fix();
    let (day, minute) = (TimeDelta::days(1), TimeDelta::minutes(1));
    let end = at("2031-01-01T00:00:00Z");
    let mut found = Vec::new();
    let mut instant = at("2024-01-01T00:00:00Z");
    while instant < end {
        // No zone has two in a day.
        let (mut before, mut after) = (instant, instant + day);
        while offset(before) != offset(after) && after - before > minute {
            let middle = before + minute * i32::try_from((after - before).num_minutes() / 2).unwrap();
            if offset(middle) == offset(before) { before = middle } else { after = middle }
        }
        if offset(before) != offset(after) {
            found.push(after);
        }
        instant += day;
    }
    found
}

/// A zone for each way in which clocks are changed.
fn changing_zones() -> Vec<Tz> {
    let offsets = |zone: Tz, instant: DateTime<Utc>| {
        zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc()
    };
    let mut seen = std::collections::BTreeSet::new();
    let is_new = |zone: &Tz| {
        let changes = changes(*zone);
        let way: Vec<_> = changes.iter().map(|change| (*change, offsets(*zone, *change))).collect();
        !changes.is_empty() && seen.insert(way)
    };
    chrono_tz::TZ_VARIANTS.into_iter().filter(is_new).collect()
}

#[test]
fn over_every_change_of_the_clock_each_day_runs_a_daily_schedule_exactly_once() {
    let mut edges = 0;
    for zone in changing_zones() {
        for change in changes(zone) {
            edges += 1;
            for minute_of_day in (0..24 * 60).step_by(30) {
                let (hour, minute) = (minute_of_day / 60, minute_of_day % 60);
                let daily = Schedule::parse(&format!("{minute} {hour} * * *"), Some(zone)).unwrap();
                each_day_once(&daily, change);
            }
        }
    }
    assert!(edges > 400, "{edges} changes found only");
}

fn each_day_once(daily: &Schedule, change: DateTime<Utc>) {
    let mut instant = change - TimeDelta::days(3);
    let mut days: Vec<NaiveDate> = Vec::new();
    for _ in 0..6 {
        let next = daily.next_after(instant).expect("a daily schedule goes on");
        assert!(next > instant);
        days.push(next.with_timezone(&daily.zone()).date_naive());
        instant = next;
    }
    for pair in days.windows(2) {
        // A gap before midnight (Nuuk) moves a run of 23:30 to 00:00 of the next day, which then has two.
        let distance = pair[1].num_days_from_ce() - pair[0].num_days_from_ce();
        let moved = daily.expression().split(' ').nth(1).is_some_and(|hour| hour == "23");
        assert!(distance == 1 || moved && (0..=2).contains(&distance), "{daily:?}: {days:?}");
    }
}

#[test]
fn the_answer_is_the_same_from_every_instant_before_it() {
    for zone in changing_zones() {
        let change = changes(zone)[0];
        for expression in ["*/20 * * * *", "30 2 * * *", "0 * * * *", "15 0-4 * * *"] {
            let schedule = Schedule::parse(expression, Some(zone)).unwrap();
            let mut instant = change - TimeDelta::hours(5);
            while instant < change + TimeDelta::hours(5) {
                let next = schedule.next_after(instant).unwrap();
                let between = instant + (next - instant) / 2;
                assert_eq!(
                    schedule.next_after(between),
                    Some(next),
                    "{expression} in {zone} after {between}"
                );
                assert_eq!(schedule.next_after(next - TimeDelta::seconds(1)), Some(next));
                instant += TimeDelta::minutes(7);
            }
        }
    }
}

#[test]
fn a_period_counts_from_the_instant_given() {
    let schedule = schedule("@every 1h30m", "UTC");
    let next = schedule.next_after(at("2026-11-21T10:00:00.7Z"));
    assert_eq!(next, Some(at("2026-11-21T11:30:00Z")));
}

#[test]
fn jitter_is_bounded_and_the_same_for_the_same_identity() {
    let due = at("2026-11-21T03:00:00Z");
    let daily = schedule("0 3 * * *", "UTC");
    let minutely = schedule("* * * * *", "UTC");
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..200 {
        let identity = format!("shop/StatefulSet/db/{number}");
        let jitter = daily.jitter(due, &identity);
        assert_eq!(jitter, daily.jitter(due, &identity));
        assert!((TimeDelta::zero()..TimeDelta::minutes(15)).contains(&jitter));
        assert!((TimeDelta::zero()..TimeDelta::seconds(6)).contains(&minutely.jitter(due, &identity)));
        seen.insert(jitter.num_seconds());
    }
    assert!(seen.len() > 100, "200 identities start at {} different seconds", seen.len());
}

#[test]
fn each_time_of_a_schedule_has_the_next_number() {
    for expression in [
        "0 3 * * *",
        "30 */5 * * *",
        "0 3 * * 0",
        "0 4 1,15 * *",
        "0 4 13 * 5",
        "*/7 2-3 * 6 *",
        "@every 90m",
    ] {
        let schedule = schedule(expression, "UTC");
        let mut instant = at("2026-11-21T10:11:12Z");
        let mut turn = schedule.turn(instant);
        for _ in 0..50 {
            instant = schedule.next_after(instant).unwrap();
            if !matches!(schedule.rule, Rule::Every(_)) {
                assert_eq!(schedule.turn(instant - TimeDelta::seconds(1)), turn, "{expression} {instant}");
            }
            turn += 1;
            assert_eq!(schedule.turn(instant), turn, "{expression} at {instant}");
            assert_eq!(schedule.turn(instant + TimeDelta::seconds(59)), turn, "a try after a failure");
        }
    }
}

#[test]
fn the_groups_of_a_schedule_come_by_turns_also_where_the_clock_changes() {
    let weekly = schedule("30 2 * * 0", "Europe/Berlin");
    let mut instant = at("2024-01-01T00:00:00Z");
    let mut groups = Vec::new();
    for _ in 0..104 {
        instant = weekly.next_after(instant).unwrap();
        groups.push(weekly.turn(instant) % 7);
    }
    for seven in groups.windows(7) {
        let distinct: std::collections::BTreeSet<_> = seven.iter().collect();
        assert_eq!(distinct.len(), 7, "{groups:?}");
    }
}
