//! One field of a cron expression as a set of numbers, read as `robfig/cron` reads it.
//!
//! Whether a field is a star is remembered beside the set: `*/1` is one, `*/2` and `1-31` are not, and on that hangs
//! whether the two day fields are joined by AND or by OR.

/// What a field may hold. `7` as a day of the week is Sunday too, which vixie's cron knows and robfig's does not.
#[derive(Debug)]
pub(super) struct Bounds {
    noun: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
    seven_is_zero: bool,
}

pub(super) const MINUTES: Bounds =
    Bounds { noun: "minute", min: 0, max: 59, names: &[], seven_is_zero: false };
pub(super) const HOURS: Bounds = Bounds { noun: "hour", min: 0, max: 23, names: &[], seven_is_zero: false };
pub(super) const DAYS_OF_MONTH: Bounds =
    Bounds { noun: "day of month", min: 1, max: 31, names: &[], seven_is_zero: false };
pub(super) const MONTHS: Bounds = Bounds {
    noun: "month",
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    seven_is_zero: false,
};
pub(super) const DAYS_OF_WEEK: Bounds = Bounds {
    noun: "day of week",
    min: 0,
    max: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    seven_is_zero: true,
};

impl Bounds {
    fn number(&self, text: &str) -> Result<u32, String> {
        let name = text.to_ascii_lowercase();
        if let Some(position) = self.names.iter().position(|known| *known == name) {
            return Ok(self.min + position as u32);
        }
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten();
        number.ok_or_else(|| format!("{text:?} is no {}", self.noun))
    }
}

#[derive(Debug)]
pub(super) struct Field {
    /// Bit n: n is in the set.
    bits: u64,
    pub(super) is_star: bool,
}

impl Field {
    pub(super) fn parse(text: &str, bounds: &Bounds) -> Result<Self, String> {
        let mut field = Self { bits: 0, is_star: false };
        for item in text.split(',').filter(|item| !item.is_empty()) {
            field.add(item, bounds)?;
        }
        if field.bits == 0 {
            return Err(format!("{text:?} names no {}", bounds.noun));
        }
        Ok(field)
    }

    fn add(&mut self, item: &str, bounds: &Bounds) -> Result<(), String> {
        let (range, step) = match item.split_once('/') {
            None => (item, None),
            Some((range, step)) => (range, Some(step)),
        };
        let step = match step {
            None => None,
            Some(step) => match step.parse::<u32>() {
                Ok(step) if step > 0 => Some(step),
                _ => return Err(format!("{item:?}: the step after / is a number above 0")),
            },
        };
        let (first, last) = match (range, step) {
            ("*" | "?", _) => {
                self.is_star |= step.unwrap_or(1) == 1;
                (bounds.min, bounds.max)
            }
            (range, step) => match range.split_once('-') {
                Some((first, last)) => (bounds.number(first)?, bounds.number(last)?),
                None => {
                    let first = bounds.number(range)?;
                    (first, if step.is_some() { bounds.max.max(first) } else { first })
                }
            },
        };
        let max = if bounds.seven_is_zero { 7 } else { bounds.max };
        if first < bounds.min || last > max {
            return Err(format!(
                "{item:?}: a {} is a number from {} to {}",
                bounds.noun, bounds.min, bounds.max
            ));
        }
        if first > last {
            return Err(format!("{item:?}: the range ends before it begins"));
        }
        for number in (first..=last).step_by(step.unwrap_or(1) as usize) {
            let number = if bounds.seven_is_zero { number % 7 } else { number };
            self.bits |= 1 << number;
        }
        Ok(())
    }

    /// The set as a list for the `cron` crate, each number raised by `shift`.
    pub(super) fn list(&self, shift: u32) -> String {
        let numbers: Vec<String> =
            (0..64).filter(|n| self.bits >> n & 1 == 1).map(|n| (n + shift).to_string()).collect();
        numbers.join(",")
    }
}
