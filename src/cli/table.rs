//! Columns under headings, as docker's tabwriter aligns them.

/// Rows of cells, the heading first.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new<T: Into<String>>(headings: impl IntoIterator<Item = T>) -> Self {
        Self { rows: vec![headings.into_iter().map(Into::into).collect()] }
    }

    /// A table whose rows come as lines with tabs between the cells.
    pub fn from_lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let cells = |line: &str| line.split('\t').map(str::to_owned).collect();
        Self { rows: lines.into_iter().map(cells).collect() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines: columns at least three blanks apart, nothing behind the last one.
    pub fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![0; columns];
        for row in &self.rows {
            for (cell, width) in row.iter().zip(&mut widths) {
                *width = cell.chars().count().max(*width);
            }
        }
        let line = |row: &Vec<String>| {
            let mut text = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let padding = width - cell.chars().count() + 3;
                text.push_str(cell);
                text.extend(std::iter::repeat_n(' ', padding));
            }
            text.trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["IMAGE", "ID"]);
        table.row(vec!["debian:12".into(), "0123".into()]);
        assert_eq!(table.lines(), ["IMAGE       ID", "debian:12   0123"]);
    }
}
