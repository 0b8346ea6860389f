//! Lists of objects of one kind.

use std::collections::BTreeMap;

use kubefwd_model::text::printable;
use serde::Serialize;

use super::table::{Cell, Table};
use super::{Format, Output};
use crate::error::CliError;

/// An object that can be listed.
pub(crate) trait Listed: Serialize + Sized + 'static {
    /// From left to right. The last one is free text.
    const COLUMNS: &'static [Column<Self>];

    /// What `-o name` prints.
    fn key(&self) -> String;

    /// A hint that is printed below the row; may be empty.
    fn footnote(&self) -> &str {
        ""
    }
}

/// A column of a list.
pub(crate) struct Column<T> {
    pub(super) title: &'static str,
    cell: fn(&T) -> Cell,
    is_wide: bool,
}

impl<T> Column<T> {
    /// One that always shows.
    pub(crate) const fn new(title: &'static str, cell: fn(&T) -> Cell) -> Self {
        Self {
            title,
            cell,
            is_wide: false,
        }
    }

    /// One that only the wide form shows.
    pub(crate) const fn wide(title: &'static str, cell: fn(&T) -> Cell) -> Self {
        Self {
            is_wide: true,
            ..Self::new(title, cell)
        }
    }
}

/// Prints all of them, in structured output as `{"plural": […]}`; `if_none` is the note if there are none.
pub(crate) fn print<T: Listed>(
    out: &Output,
    plural: &str,
    items: &[T],
    if_none: &str,
) -> Result<(), CliError> {
    match out.format {
        Format::Json | Format::Yaml => out.value(&BTreeMap::from([(plural, items)])),
        Format::Name => out.data(&keys(items)),
        Format::Table | Format::Wide if items.is_empty() => {
            out.note(if_none);
            Ok(())
        }
        Format::Table | Format::Wide => out.data(&table(out, items)),
    }
}

/// Prints objects one by one as they come: rows below one header, or one value per line.
pub(crate) struct Live {
    out: Output,
    table: Table,
    is_header_due: bool,
}

impl Live {
    /// Nothing is printed yet.
    pub(crate) fn new(out: Output) -> Self {
        Self {
            table: Table::new(out.is_coloured()),
            out,
            is_header_due: true,
        }
    }

    /// Prints the next one.
    pub(crate) fn print<T: Listed>(&mut self, item: &T) -> Result<(), CliError> {
        match self.out.format {
            Format::Json | Format::Yaml => self.out.item(item),
            Format::Name => self.out.data(&keys([item])),
            Format::Table | Format::Wide => {
                let mut rows = Vec::new();
                // Printed with the first row, whose widths it needs.
                if std::mem::take(&mut self.is_header_due) {
                    rows.push(header::<T>(&self.out));
                }
                rows.push(row(&self.out, item));
                self.out.data(&self.table.render(&rows))
            }
        }
    }
}

/// One key per line.
pub(super) fn keys<'a, T: Listed>(items: impl IntoIterator<Item = &'a T>) -> String {
    let items = items.into_iter();
    items.map(|item| item.key() + "\n").collect()
}

/// The rows, each with its footnote.
fn table<T: Listed>(out: &Output, items: &[T]) -> String {
    let mut rows = vec![header::<T>(out)];
    rows.extend(items.iter().map(|item| row(out, item)));
    let rendered = Table::new(out.is_coloured()).render(&rows);
    let mut lines = rendered.lines();
    let mut text = lines.next().unwrap_or_default().to_owned() + "\n";
    for (line, item) in lines.zip(items) {
        text += &format!("{line}\n");
        for hint in item.footnote().lines() {
            text += &format!("  hint: {}\n", printable(hint));
        }
    }
    text
}

/// The columns that the format shows.
pub(super) fn columns<T: Listed>(out: &Output) -> impl Iterator<Item = &'static Column<T>> {
    let wide = out.format == Format::Wide;
    let columns = T::COLUMNS.iter();
    columns.filter(move |column| wide || !column.is_wide)
}

/// The titles as a row.
pub(super) fn header<T: Listed>(out: &Output) -> Vec<Cell> {
    columns::<T>(out)
        .map(|column| column.title.into())
        .collect()
}

/// The object's row.
pub(super) fn row<T: Listed>(out: &Output, item: &T) -> Vec<Cell> {
    columns(out).map(|column| (column.cell)(item)).collect()
}
