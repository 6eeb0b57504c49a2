//! When: a cron expression with Kubernetes' meaning, in a time zone.
//!
//! The five fields are read here as `robfig/cron` reads them (1 is Monday, day-of-month OR day-of-week where both
//! are restricted) and handed to the `cron` crate as plain lists of numbers: one evaluation, or two for the OR case.
//! The crate sees wall-clock times only. Turning one into an instant is done here, so the rule for a changed clock
//! is ours: what falls into a skipped hour comes once, right after the gap; a doubled hour runs once, the first time.

mod field;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{
    DateTime, Datelike, MappedLocalTime, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc,
};
use chrono_tz::Tz;
use cron::TimeUnitSpec;

use field::{DAYS_OF_MONTH, DAYS_OF_WEEK, Field, HOURS, MINUTES, MONTHS};

/// Where days are counted from: no agent ran before.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2024, 1, 1).expect("it is a day");

/// The most a start is moved to spread a herd: a tenth of the interval, and no more than this.
const MAX_JITTER: TimeDelta = TimeDelta::minutes(15);

/// Days looked through for the end of a gap: no zone ever skipped more than one day (Samoa, 2011).
const MAX_GAP_MINUTES: i64 = 36 * 60;

/// A schedule that comes at least once.
#[derive(Clone, Debug)]
pub struct Schedule {
    expression: String,
    zone: Tz,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    /// The earliest of these; two where day-of-month and day-of-week are both restricted.
    Calendar(Vec<cron::Schedule>),
    Every(Duration),
}

impl Schedule {
    /// Reads an expression. `TZ=` and `CRON_TZ=` before it are understood; where `zone` is given too, both must
    /// agree. The error is one sentence for people.
    pub fn parse(expression: &str, zone: Option<Tz>) -> Result<Self, String> {
        let (own_zone, fields) = split_zone(expression.trim())?;
        if let (Some(own), Some(given)) = (own_zone, zone)
            && own != given
        {
            return Err(format!("the schedule names the zone {own}, the setting timeZone {given}: keep one"));
        }
        let zone = own_zone.or(zone).unwrap_or(Tz::UTC);
        let rule = match fields.strip_prefix('@') {
            Some(word) => descriptor(word)?,
            None => calendar(fields)?,
        };
        let schedule = Self { expression: expression.trim().to_owned(), zone, rule };
        // Any instant will do: a calendar that ever matches does so within the 400 years the calendar repeats in,
        // and in practice within 8 (29 February over a century's turn).
        match schedule.next_after(DateTime::UNIX_EPOCH + TimeDelta::days(20_000)) {
            Some(_) => Ok(schedule),
            None => Err(format!("{expression:?} never comes: no month it names has that day")),
        }
    }

    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The expression, which means the same wherever it is read.
    pub fn expression_with_zone(&self) -> String {
        match split_zone(&self.expression) {
            Ok((None, fields)) => format!("TZ={} {fields}", self.zone),
            _ => self.expression.clone(),
        }
    }

    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first time strictly after `instant`, in whole seconds. `None` past the year 2100.
    pub fn next_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.rule {
            Rule::Every(period) => {
                let whole = instant.with_nanosecond(0)?;
                whole.checked_add_signed(TimeDelta::from_std(*period).ok()?)
            }
            Rule::Calendar(schedules) => {
                schedules.iter().filter_map(|schedule| self.next_of(schedule, instant)).min()
            }
        }
    }

    /// The first wall-clock time of `schedule` whose instant is later than `instant`. In a doubled hour and after a
    /// gap wall-clock times can map to instants that have passed already: those are stepped over.
    fn next_of(&self, schedule: &cron::Schedule, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let wall = instant.with_timezone(&self.zone).naive_local();
        // After a gap the local clock is ahead of times in the gap that have not run yet, but those map to the gap's
        // very end, which `instant` has reached. Before a gap nothing is ahead. So starting at `wall` misses nothing.
        schedule
            .after(&wall.and_utc())
            .map(|wall| self.instant_of(wall.naive_utc()))
            .find(|found| found.is_none_or(|found| found > instant))
            .flatten()
    }

    fn instant_of(&self, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
        match self.zone.from_local_datetime(&wall) {
            MappedLocalTime::Single(instant) | MappedLocalTime::Ambiguous(instant, _) => {
                Some(instant.with_timezone(&Utc))
            }
            MappedLocalTime::None => self.end_of_gap(wall),
        }
    }

    /// The instant the clock jumped, for a wall-clock time that never was.
    fn end_of_gap(&self, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
        // Changes of offset lie on whole minutes in every zone since 1972; earlier times are never asked for.
        let minute = wall.with_second(0)?;
        (1..=MAX_GAP_MINUTES)
            .filter_map(|minutes| minute.checked_add_signed(TimeDelta::minutes(minutes)))
            .find_map(|later| self.zone.from_local_datetime(&later).earliest())
            .map(|instant| instant.with_timezone(&Utc))
    }

    /// How often the schedule has come by `instant`, counted from some time long ago: the next time has the next number. At
    /// a changed clock a number may be left out.
    pub fn turn(&self, instant: DateTime<Utc>) -> u64 {
        let schedules = match &self.rule {
            Rule::Every(period) => {
                return u64::try_from(instant.timestamp()).unwrap_or(0) / period.as_secs().max(1);
            }
            Rule::Calendar(schedules) => schedules,
        };
        let wall = instant.with_timezone(&self.zone).naive_local();
        let is_named = |day: NaiveDate| {
            schedules.iter().any(|schedule| {
                schedule.months().includes(day.month())
                    && schedule.days_of_month().includes(day.day())
                    && schedule.days_of_week().includes(day.weekday().number_from_sunday())
            })
        };
        // All of them name the same times of a day.
        let Some(first) = schedules.first() else { return 0 };
        let (hours, minutes) = (first.hours(), first.minutes());
        let in_a_day = u64::from(hours.count()) * u64::from(minutes.count());
        let days = FIRST_DAY.iter_days().take_while(|day| *day < wall.date());
        let before = days.filter(|day| is_named(*day)).count() as u64 * in_a_day;
        let is_over = |hour: u32, minute: u32| (hour, minute) <= (wall.hour(), wall.minute());
        let today = match is_named(wall.date()) {
            true => hours
                .iter()
                .flat_map(|hour| minutes.iter().map(move |minute| (hour, minute)))
                .filter(|(hour, minute)| is_over(*hour, *minute))
                .count() as u64,
            false => 0,
        };
        before + today
    }

    /// How much later than `due` the run of this `identity` starts, where jitter is on: always the same for the same
    /// identity, evenly spread over `min(interval / 10, 15 min)`. It never reaches the next due time.
    pub fn jitter(&self, due: DateTime<Utc>, identity: &str) -> TimeDelta {
        let interval = match self.next_after(due) {
            Some(next) => next - due,
            None => return TimeDelta::zero(),
        };
        let most = (interval / 10).min(MAX_JITTER);
        let digest = pillion_repository::format::id::Id::of(identity.as_bytes());
        let mut head = [0; 4];
        head.copy_from_slice(&digest.as_bytes()[..4]);
        let share = i64::from(u32::from_be_bytes(head));
        TimeDelta::seconds(most.num_seconds() * share / (i64::from(u32::MAX) + 1))
    }
}

fn split_zone(expression: &str) -> Result<(Option<Tz>, &str), String> {
    let Some(rest) = expression.strip_prefix("CRON_TZ=").or_else(|| expression.strip_prefix("TZ=")) else {
        return Ok((None, expression));
    };
    let (name, fields) =
        rest.split_once(' ').ok_or("after TZ= and the zone comes a space and the schedule")?;
    Ok((Some(parse_zone(name)?), fields.trim()))
}

/// A zone by its IANA name.
pub fn parse_zone(name: &str) -> Result<Tz, String> {
    name.trim().parse().map_err(|_| format!("{name:?} is no time zone: write it like UTC or Europe/Berlin"))
}

fn descriptor(word: &str) -> Result<Rule, String> {
    let fields = match word {
        "yearly" | "annually" => "0 0 1 1 *",
        "monthly" => "0 0 1 * *",
        "weekly" => "0 0 * * 0",
        "daily" | "midnight" => "0 0 * * *",
        "hourly" => "0 * * * *",
        _ => return every(word),
    };
    calendar(fields)
}

fn every(word: &str) -> Result<Rule, String> {
    let Some(period) = word.strip_prefix("every ") else {
        return Err(format!(
            "@{word} is no schedule: there are @hourly, @daily, @weekly, @monthly, @yearly, @every 1h30m"
        ));
    };
    // Whole seconds, at least one: finer is no schedule for snapshots and would never let the process rest.
    Ok(Rule::Every(Duration::from_secs(crate::duration::parse(period)?.as_secs().max(1))))
}

fn calendar(text: &str) -> Result<Rule, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day_of_month, month, day_of_week] = fields[..] else {
        return Err(format!(
            "a schedule has five fields (minute, hour, day of month, month, day of week), {text:?} has {}",
            fields.len()
        ));
    };
    let minute = Field::parse(minute, &MINUTES)?;
    let hour = Field::parse(hour, &HOURS)?;
    let day_of_month = Field::parse(day_of_month, &DAYS_OF_MONTH)?;
    let month = Field::parse(month, &MONTHS)?;
    // The crate counts Sunday as 1.
    let day_of_week = Field::parse(day_of_week, &DAYS_OF_WEEK)?;
    let evaluate = |day_of_month: &str, day_of_week: &str| {
        let list =
            format!("0 {} {} {day_of_month} {} {day_of_week}", minute.list(0), hour.list(0), month.list(0));
        list.parse::<cron::Schedule>().map_err(|e| format!("{text:?}: {e}"))
    };
    let days = day_of_month.list(0);
    let weekdays = day_of_week.list(1);
    let schedules = if day_of_month.is_star || day_of_week.is_star {
        vec![evaluate(&days, &weekdays)?]
    } else {
        vec![evaluate(&days, "*")?, evaluate("*", &weekdays)?]
    };
    Ok(Rule::Calendar(schedules))
}
