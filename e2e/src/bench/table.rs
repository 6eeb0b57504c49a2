//! Medians and ratios as a Markdown table.

use std::fmt::Write;

use super::measure::Measured;
use super::work::Work;

/// All rounds of one work by one program.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    pub measured: Vec<Measured>,
    /// Of the repository after a backup; empty for works that add nothing.
    pub repository_bytes: Vec<f64>,
}

/// One work with what both programs took.
#[derive(Clone, Debug)]
pub struct Row {
    pub work: Work,
    pub restic: Rounds,
    pub pillion: Rounds,
}

const HEAD: &str = "\
| work | wall s: restic | ours | ratio | CPU s: restic | ours | ratio | peak MiB: restic | ours | ratio | \
repository MB: restic | ours | ours / restic |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
";

/// The whole table; a ratio is restic's figure by ours, so above 1 we need less, save for the repository's.
pub fn render(rows: &[Row]) -> String {
    let mut text = HEAD.to_owned();
    for row in rows {
        write!(text, "| {}", row.work).expect("writing to a string succeeds");
        column(&mut text, row, |m| m.wall.as_secs_f64());
        column(&mut text, row, |m| m.cpu.as_secs_f64());
        column(&mut text, row, |m| m.peak_bytes as f64 / f64::from(1 << 20));
        if row.restic.repository_bytes.is_empty() {
            text.push_str(" | – | – | – |\n");
            continue;
        }
        let (theirs, ours) = (median(&row.restic.repository_bytes), median(&row.pillion.repository_bytes));
        writeln!(text, " | {:.1} | {:.1} | {:.3} |", theirs / 1e6, ours / 1e6, ours / theirs)
            .expect("writing to a string succeeds");
    }
    text
}

fn column(text: &mut String, row: &Row, figure: impl Fn(&Measured) -> f64) {
    let of = |rounds: &Rounds| median(&rounds.measured.iter().map(&figure).collect::<Vec<_>>());
    compared(text, of(&row.restic), of(&row.pillion));
}

/// Three cells: restic's figure, ours, and how many times ours goes into restic's.
pub(super) fn compared(text: &mut String, theirs: f64, ours: f64) {
    // A program that ends within the clock's grain has no ratio worth printing.
    let ratio = if ours > 0.0 { format!("{:.1}", theirs / ours) } else { "–".to_owned() };
    write!(text, " | {} | {} | {ratio}", rounded(theirs), rounded(ours))
        .expect("writing to a string succeeds");
}

/// Three digits or so, as many as a measurement carries.
pub(super) fn rounded(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// The middle one; of an even number the mean of the middle two.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_median_ignores_one_outlier() {
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    fn rounds(wall_seconds: u64, repository_bytes: &[f64]) -> Rounds {
        let measured = Measured {
            wall: Duration::from_secs(wall_seconds),
            cpu: Duration::from_secs(2 * wall_seconds),
            peak_bytes: wall_seconds << 20,
        };
        Rounds { measured: vec![measured], repository_bytes: repository_bytes.to_vec() }
    }

    #[test]
    fn ratios_are_restics_figure_by_ours_and_the_repositorys_the_other_way() {
        let work = "small-first".parse().unwrap();
        let row = Row { work, restic: rounds(20, &[2e6]), pillion: rounds(8, &[1e6]) };
        let text = render(&[row]);
        let line = text.lines().nth(2).unwrap();
        assert_eq!(
            line,
            "| small-first | 20.0 | 8.00 | 2.5 | 40.0 | 16.0 | 2.5 | 20.0 | 8.00 | 2.5 | 2.0 | 1.0 | 0.500 |"
        );
        assert_eq!(line.matches('|').count(), text.lines().next().unwrap().matches('|').count());
    }

    #[test]
    fn works_that_add_nothing_have_no_repository_size() {
        let row =
            Row { work: "large-check".parse().unwrap(), restic: rounds(4, &[]), pillion: rounds(2, &[]) };
        assert!(render(&[row]).ends_with("| – | – | – |\n"));
    }
}
