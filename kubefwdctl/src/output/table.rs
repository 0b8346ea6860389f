//! Aligned columns, plain or with a coloured word.

use kubefwd_model::text::printable;

/// Between two columns.
const GAP: &str = "  ";

/// What a cell means, shown as a colour where colours are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Not yet, or not quite.
    Waiting,
    /// Wrong.
    Bad,
}

impl Tone {
    fn start(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Waiting => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// One field of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a tone.
    pub(crate) fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self {
            text: printable(text.as_ref()),
            tone,
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// Column widths grow with what was measured, so that later rows line up with earlier ones.
#[derive(Debug)]
pub(crate) struct Table {
    widths: Vec<usize>,
    coloured: bool,
}

impl Table {
    /// A table whose rows may be coloured.
    pub(crate) fn new(coloured: bool) -> Self {
        Self {
            widths: Vec::new(),
            coloured,
        }
    }

    /// Renders these rows below the earlier ones. The last column is not padded.
    pub(crate) fn render(&mut self, rows: &[Vec<Cell>]) -> String {
        for row in rows {
            self.measure(row);
        }
        rows.iter().map(|row| self.line(row)).collect()
    }

    /// Makes room for a row that is printed later, or never.
    pub(crate) fn measure(&mut self, row: &[Cell]) {
        if self.widths.len() < row.len() {
            self.widths.resize(row.len(), 0);
        }
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.chars().count());
        }
    }

    fn line(&self, row: &[Cell]) -> String {
        let mut line = String::new();
        let mut owed = 0;
        for (cell, width) in row.iter().zip(&self.widths) {
            let length = cell.text.chars().count();
            if length > 0 {
                // Blanks are only written before text, so no line ends in them.
                line.extend(std::iter::repeat_n(' ', owed));
                owed = 0;
                let start = if self.coloured { cell.tone.start() } else { "" };
                line += start;
                line += &cell.text;
                line += if start.is_empty() { "" } else { "\x1b[0m" };
            }
            owed += width - length + GAP.len();
        }
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<Cell> {
        cells.iter().map(Cell::from).collect()
    }

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let mut table = Table::new(false);
        let text = table.render(&[
            row(&["NAME", "STATE", "MESSAGE"]),
            row(&["a-long-name", "active", ""]),
            row(&["", "", "x"]),
        ]);
        assert_eq!(
            text,
            "NAME         STATE   MESSAGE\na-long-name  active\n                     x\n"
        );
    }

    #[test]
    fn later_rows_keep_the_columns() {
        let mut table = Table::new(false);
        table.render(&[row(&["NAME", "STATE"]), row(&["abcdef", "x"])]);
        assert_eq!(table.render(&[row(&["b", "y"])]), "b       y\n");
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let mut table = Table::new(true);
        let rows = [vec![Cell::toned("up", Tone::Good), "x".into()]];
        assert_eq!(table.render(&rows), "\x1b[32mup\x1b[0m  x\n");
    }

    #[test]
    fn cells_hold_one_line() {
        let mut table = Table::new(false);
        assert_eq!(table.render(&[row(&["a\nb", "c"])]), "a b  c\n");
    }
}
