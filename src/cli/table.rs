//! Columns, set as Docker's tools set them.

/// Rows of cells under headings.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    /// The least width of a column, its distance from the next included.
    least: usize,
    /// Blanks between a column and the next.
    distance: usize,
}

impl Table {
    /// A table as `docker ps` sets it.
    pub fn new() -> Table {
        Table { rows: Vec::new(), least: 10, distance: 3 }
    }

    /// A table as `docker compose ls` and `docker compose images` set it.
    pub fn wide() -> Table {
        Table { rows: Vec::new(), least: 20, distance: 3 }
    }

    /// A table as `docker compose top` sets it.
    pub fn dense() -> Table {
        Table { rows: Vec::new(), least: 4, distance: 2 }
    }

    /// Adds a row; the first is the headings.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Adds a row that is written with tabs between its cells.
    pub fn tabbed(&mut self, line: &str) {
        self.row(line.split('\t'));
    }

    /// The text, each line ended. The last cell of a row is not padded.
    pub fn text(&self) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                text.push_str(cell);
                if column + 1 < row.len() {
                    text.push_str(&" ".repeat(widths[column].saturating_sub(cell.chars().count())));
                }
            }
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter(|row| column + 1 < row.len());
            let longest = cells.map(|row| row[column].chars().count()).max().unwrap_or(0);
            (longest + self.distance).max(self.least)
        };
        (0..columns).map(width).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_set_as_docker_sets_them() {
        let mut table = Table::new();
        table.row(["NETWORK ID", "NAME", "DRIVER"]);
        table.row(["0123456789ab", "bridge", "bridge"]);
        assert_eq!(table.text(), "NETWORK ID     NAME      DRIVER\n0123456789ab   bridge    bridge\n");
    }
}
