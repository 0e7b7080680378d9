//! Columns under headings, as docker's tabwriter aligns them.

use std::borrow::Cow;

/// Rows of cells, the heading first.
#[derive(Debug, Default)]
pub struct Table<'a> {
    rows: Vec<Vec<Cow<'a, str>>>,
}

impl<'a> Table<'a> {
    /// A table with these headings.
    pub fn new(headings: &[&'a str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| Cow::Borrowed(*heading)).collect()] }
    }

    /// A table whose rows come as lines with tabs between the cells.
    pub fn from_lines(lines: &'a [String]) -> Self {
        let cells = |line: &'a String| line.split('\t').map(Cow::Borrowed).collect();
        Self { rows: lines.iter().map(cells).collect() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(Cow::Owned).collect());
    }

    /// All of it: columns at least three blanks apart, nothing behind the last one of a line.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![0; columns];
        for row in &self.rows {
            for (cell, width) in row.iter().zip(&mut widths) {
                *width = cell.chars().count().max(*width);
            }
        }
        let blanks = " ".repeat(widths.iter().copied().max().unwrap_or(0) + 3);
        let mut text = String::new();
        for row in &self.rows {
            let start = text.len();
            for (cell, width) in row.iter().zip(&widths) {
                text.push_str(cell);
                text.push_str(&blanks[..width - cell.chars().count() + 3]);
            }
            text.truncate(start + text[start..].trim_end().len());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["IMAGE", "ID"]);
        table.row(vec!["debian:12".into(), "0123".into()]);
        assert_eq!(table.text(), "IMAGE       ID\ndebian:12   0123\n");
    }
}
