//! Objects of one kind as they change.

use std::collections::{HashMap, HashSet};

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::listing::{Listed, header, keys};
use super::table::{Cell, Table, Tone};
use super::{Format, Output};
use crate::error::CliError;
use crate::item::Id;

/// What happened to an object that is watched.
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

/// Prints objects as they change, if the change shows.
pub(crate) struct ChangePrinter<T> {
    out: Output,
    table: Table,
    started: bool,
    shown: HashMap<Id, T>,
}

impl<T: Listed> ChangePrinter<T> {
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
        let now: HashSet<_> = items.iter().map(id).collect();
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
    pub(crate) fn change(&mut self, items: Vec<T>) -> Result<(), CliError> {
        self.put(items, Change::Changed)
    }

    /// Prints that those are gone, if they had been printed.
    pub(crate) fn remove(&mut self, items: &[T]) -> Result<(), CliError> {
        let keys: Vec<_> = items.iter().map(id).collect();
        self.drop_all(&keys)
    }

    fn drop_all(&mut self, keys: &[Id]) -> Result<(), CliError> {
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
            Format::Json | Format::Yaml => {
                let document = |item: &T| serde_json::to_string(item).ok();
                document(before) != document(after)
            }
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
            Format::Name => self.out.data(&keys(items)),
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

fn id<T: Listed>(item: &T) -> Id {
    (item.key(), item.uid())
}
