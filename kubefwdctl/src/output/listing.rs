//! Printing objects of one kind, once or as they change.

use std::collections::HashMap;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::table::{Cell, Table, Tone};
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
    fn key(&self) -> &str;
    /// Keys of different owners may be the same.
    fn owner(&self) -> &str {
        ""
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
///
/// # Errors
/// [`CliError::Output`].
pub(crate) fn print<T: Listed>(out: &Output, items: &[T], if_none: &str) -> Result<(), CliError> {
    print_with::<T, ()>(out, &[], items, if_none)
}

/// The same with extra fields beside the list in structured output.
///
/// # Errors
/// [`CliError::Output`].
pub(crate) fn print_with<T: Listed, M: Serialize>(
    out: &Output,
    more: &[(&'static str, M)],
    items: &[T],
    if_none: &str,
) -> Result<(), CliError> {
    match out.format {
        Format::Json | Format::Yaml => out.value(&List { more, items }),
        Format::Name => out.data(
            &items
                .iter()
                .map(|item| item.key().to_owned() + "\n")
                .collect::<String>(),
        ),
        Format::Table | Format::Wide if items.is_empty() => {
            out.note(if_none);
            Ok(())
        }
        Format::Table | Format::Wide => {
            let wide = out.format == Format::Wide;
            let mut rows = vec![header::<T>(wide)];
            rows.extend(items.iter().map(|item| item.row(wide)));
            let text = Table::new(out.is_coloured()).render(&rows);
            let mut lines = text.lines();
            let mut text = String::new();
            push(&mut text, lines.next().unwrap_or_default());
            for (line, item) in lines.zip(items) {
                push(&mut text, line);
                for hint in item.footnote().lines() {
                    push(&mut text, &format!("  hint: {}", super::printable(hint)));
                }
            }
            out.data(&text)
        }
    }
}

fn push(text: &mut String, line: &str) {
    *text += line;
    text.push('\n');
}

fn header<T: Listed>(wide: bool) -> Vec<Cell> {
    T::header(wide).into_iter().map(Cell::from).collect()
}

/// What happened to an object that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    /// It existed when the output began.
    Current,
    /// It is new or differs from what was printed.
    Changed,
    /// It is gone; this is how it was.
    Removed,
}

/// One line of structured output when watching: `{"change": "removed", "service": {…}}`.
struct Line<'a, T> {
    change: Change,
    item: &'a T,
}

impl<T: Listed> Serialize for Line<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("change", &self.change)?;
        map.serialize_entry(T::KIND, self.item)?;
        map.end()
    }
}

/// Prints objects as they change, if the change is visible.
pub(crate) struct Follower<T> {
    out: Output,
    table: Table,
    started: bool,
    shown: HashMap<(String, String), T>,
}

impl<T: Listed + PartialEq> Follower<T> {
    /// Nothing is printed yet.
    pub(crate) fn new(out: Output) -> Self {
        Self {
            table: Table::new(out.is_coloured()),
            out,
            started: false,
            shown: HashMap::new(),
        }
    }

    /// Prints what exists, and what no longer does.
    ///
    /// # Errors
    /// [`CliError::Output`].
    pub(crate) fn replace(&mut self, items: Vec<T>) -> Result<(), CliError> {
        let first = !std::mem::replace(&mut self.started, true);
        if first && self.out.is_table() {
            let wide = self.out.format == Format::Wide;
            // Measured with the first rows, printed above them even if there are none.
            let mut rows = vec![header::<T>(wide)];
            rows.extend(items.iter().map(|item| item.row(wide)));
            self.out.data(&self.table.render(&rows))?;
            self.shown = items.into_iter().map(|item| (id(&item), item)).collect();
            return Ok(());
        }
        let now: std::collections::HashSet<_> = items.iter().map(id).collect();
        let mut gone: Vec<_> = self
            .shown
            .keys()
            .filter(|key| !now.contains(*key))
            .cloned()
            .collect();
        gone.sort();
        self.drop_all(&gone)?;
        self.put(
            items,
            if first {
                Change::Current
            } else {
                Change::Changed
            },
        )
    }

    /// Prints those that differ from what was printed of them.
    ///
    /// # Errors
    /// [`CliError::Output`].
    pub(crate) fn change(&mut self, items: Vec<T>) -> Result<(), CliError> {
        self.put(items, Change::Changed)
    }

    /// Prints that those are gone, if they had been printed.
    ///
    /// # Errors
    /// [`CliError::Output`].
    pub(crate) fn remove(&mut self, items: &[T]) -> Result<(), CliError> {
        let keys: Vec<_> = items.iter().map(id).collect();
        self.drop_all(&keys)
    }

    fn drop_all(&mut self, keys: &[(String, String)]) -> Result<(), CliError> {
        let gone: Vec<T> = keys
            .iter()
            .filter_map(|key| self.shown.remove(key))
            .collect();
        self.emit(gone.iter(), Change::Removed)
    }

    fn put(&mut self, items: Vec<T>, change: Change) -> Result<(), CliError> {
        let differs = |item: &T| match self.shown.get(&id(item)) {
            None => true,
            Some(before) => self.shows_difference(before, item),
        };
        let changed: Vec<T> = items.into_iter().filter(differs).collect();
        self.emit(changed.iter(), change)?;
        self.shown
            .extend(changed.into_iter().map(|item| (id(&item), item)));
        Ok(())
    }

    fn shows_difference(&self, before: &T, after: &T) -> bool {
        match self.out.format {
            Format::Table => before.row(false) != after.row(false),
            Format::Wide => before.row(true) != after.row(true),
            Format::Json | Format::Yaml => before != after,
            Format::Name => false,
        }
    }

    fn emit<'a>(
        &mut self,
        items: impl Iterator<Item = &'a T>,
        change: Change,
    ) -> Result<(), CliError>
    where
        T: 'a,
    {
        let wide = self.out.format == Format::Wide;
        match self.out.format {
            Format::Table | Format::Wide => {
                let rows: Vec<_> = items
                    .map(|item| match change {
                        Change::Removed => gone_row(item, wide),
                        Change::Current | Change::Changed => item.row(wide),
                    })
                    .collect();
                self.out.data(&self.table.render(&rows))
            }
            Format::Name if change == Change::Removed => Ok(()),
            Format::Name => self.out.data(
                &items
                    .map(|item| item.key().to_owned() + "\n")
                    .collect::<String>(),
            ),
            Format::Json | Format::Yaml => items
                .into_iter()
                .try_for_each(|item| self.out.item(&Line { change, item })),
        }
    }
}

/// The last row of an object, with `removed` in place of its state.
fn gone_row<T: Listed>(item: &T, wide: bool) -> Vec<Cell> {
    let mut row = item.row(wide);
    let state = T::header(wide).iter().position(|title| *title == "STATE");
    if let Some(cell) = state.and_then(|at| row.get_mut(at)) {
        *cell = Cell::toned("removed", Tone::Waiting);
    }
    if let Some(message) = row.last_mut() {
        *message = "".into();
    }
    row
}

fn id<T: Listed>(item: &T) -> (String, String) {
    (item.key().to_owned(), item.owner().to_owned())
}
