//! Lists of objects of one kind.

use kubefwd_model::text::printable;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::table::{Cell, Table};
use super::{Format, Output};
use crate::error::CliError;

/// An object that can be listed.
pub(crate) trait Listed: Serialize {
    /// `service`: the field of one object in structured output.
    const KIND: &'static str;
    /// `services`: the field of a list in structured output.
    const PLURAL: &'static str;

    /// The titles of the columns.
    fn header(wide: bool) -> Vec<&'static str>;
    /// As many cells as the header has.
    fn row(&self, wide: bool) -> Vec<Cell>;
    /// What `-o name` prints.
    fn key(&self) -> String;
    /// The owner: two owners may have the same key.
    fn uid(&self) -> u32 {
        0
    }
    /// A hint that is printed below the row; may be empty.
    fn footnote(&self) -> &str {
        ""
    }
}

/// A list in structured output: `{"services": […]}`, with extra fields before it if there are any.
struct List<'a, T, M> {
    more: &'a [(&'static str, M)],
    items: &'a [T],
}

impl<T: Listed, M: Serialize> Serialize for List<'_, T, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.more.len() + 1))?;
        for (name, value) in self.more {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry(T::PLURAL, self.items)?;
        map.end()
    }
}

/// Prints all of them; `if_none` is the note if there are none.
pub(crate) fn print<T: Listed>(out: &Output, items: &[T], if_none: &str) -> Result<(), CliError> {
    print_with::<T, ()>(out, &[], items, if_none)
}

/// The same with extra fields beside the list in structured output.
pub(crate) fn print_with<T: Listed, M: Serialize>(
    out: &Output,
    more: &[(&'static str, M)],
    items: &[T],
    if_none: &str,
) -> Result<(), CliError> {
    match out.format {
        Format::Json | Format::Yaml => out.value(&List { more, items }),
        Format::Name => out.data(&keys(items)),
        Format::Table | Format::Wide if items.is_empty() => {
            out.note(if_none);
            Ok(())
        }
        Format::Table | Format::Wide => out.data(&table(out, items)),
    }
}

/// One key per line.
pub(super) fn keys<'a, T: Listed + 'a>(items: impl IntoIterator<Item = &'a T>) -> String {
    let items = items.into_iter();
    items.map(|item| item.key() + "\n").collect()
}

/// The rows, each with its footnote.
fn table<T: Listed>(out: &Output, items: &[T]) -> String {
    let wide = out.format == Format::Wide;
    let mut rows = vec![header::<T>(wide)];
    rows.extend(items.iter().map(|item| item.row(wide)));
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

/// The titles as a row.
pub(super) fn header<T: Listed>(wide: bool) -> Vec<Cell> {
    T::header(wide).into_iter().map(Cell::from).collect()
}
