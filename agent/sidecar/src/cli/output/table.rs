//! Tables as restic prints them: columns two blanks apart, cells of several lines, rules above and below.

/// A table of text. Cells may hold several lines; each is quoted by whoever made it.
#[derive(Debug, Default)]
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// A blank line between rows, where a row is more than one line.
    pub is_spaced: bool,
}

impl Table {
    pub fn new(columns: Vec<&'static str>) -> Self {
        Self { columns, rows: Vec::new(), is_spaced: false }
    }

    pub fn add(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.columns.len(), "a row has a cell for each column");
        self.rows.push(row);
    }

    pub fn render(&self, footer: &[String]) -> String {
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len().saturating_sub(1)));
        let mut text = String::new();
        let header: Vec<String> = self.columns.iter().map(ToString::to_string).collect();
        push_row(&mut text, &header, &widths);
        push_line(&mut text, &rule);
        for (position, row) in self.rows.iter().enumerate() {
            if self.is_spaced && position > 0 {
                text.push('\n');
            }
            push_row(&mut text, row, &widths);
        }
        push_line(&mut text, &rule);
        for line in footer {
            push_line(&mut text, line);
        }
        text
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].as_str());
        cells
            .chain([self.columns[column]])
            .flat_map(|cell| cell.split('\n'))
            .map(display_width)
            .max()
            .unwrap_or(0)
    }
}

fn display_width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

fn push_row(text: &mut String, cells: &[String], widths: &[usize]) {
    let cells: Vec<Vec<&str>> = cells.iter().map(|cell| cell.split('\n').collect()).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    for line in 0..height {
        let mut row = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let part = cell.get(line).copied().unwrap_or("");
            if column > 0 {
                row.push_str("  ");
            }
            row.push_str(part);
            row.extend(std::iter::repeat_n(' ', widths[column].saturating_sub(display_width(part))));
        }
        push_line(text, row.trim_end_matches(' '));
    }
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
