//! Objects of one kind as they change.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::listing::{Listed, columns, header, keys, row};
use super::table::{Cell, Table, Tone};
use super::{Format, Output};
use crate::cache::Objects;
use crate::error::CliError;
use crate::item::Id;

/// A kind of object that `List` and `Watch` return.
pub(crate) trait Cached: Listed {
    /// `service`: the field of one object in structured output.
    const KIND: &'static str;
    /// `services`: the field of a list in structured output.
    const PLURAL: &'static str;

    /// The owner: two owners may have the same key.
    fn uid(&self) -> u32;

    fn id(&self) -> Id {
        (self.key(), self.uid())
    }

    /// Those of this kind.
    fn select(objects: Objects) -> Vec<Self>;
}

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
#[derive(Serialize)]
struct Line<'a, T> {
    change: Change,
    #[serde(flatten)]
    item: BTreeMap<&'static str, &'a T>,
}

/// Prints objects as they change, if the change shows.
pub(crate) struct ChangePrinter<T> {
    out: Output,
    table: Table,
    started: bool,
    shown: HashMap<Id, T>,
}

impl<T: Cached> ChangePrinter<T> {
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
            // Measured with the first rows, printed above them even if there are none.
            let mut rows = vec![header::<T>(&self.out)];
            rows.extend(items.iter().map(|item| row(&self.out, item)));
            self.out.data(&self.table.render(&rows))?;
            self.shown = items.into_iter().map(|item| (item.id(), item)).collect();
            return Ok(());
        }
        let now: HashSet<_> = items.iter().map(T::id).collect();
        let shown = self.shown.keys();
        let mut gone: Vec<_> = shown.filter(|key| !now.contains(*key)).cloned().collect();
        gone.sort();
        self.drop_all(&gone)?;
        let change = match first {
            true => Change::Current,
            false => Change::Changed,
        };
        self.put(items, change)
    }

    /// Prints those that differ from what was printed of them.
    pub(crate) fn change(&mut self, items: Vec<T>) -> Result<(), CliError> {
        self.put(items, Change::Changed)
    }

    /// Prints that those are gone, if they had been printed.
    pub(crate) fn remove(&mut self, items: &[T]) -> Result<(), CliError> {
        let keys: Vec<_> = items.iter().map(T::id).collect();
        self.drop_all(&keys)
    }

    fn drop_all(&mut self, keys: &[Id]) -> Result<(), CliError> {
        let keys = keys.iter();
        let gone: Vec<T> = keys.filter_map(|key| self.shown.remove(key)).collect();
        self.emit(&gone, Change::Removed)
    }

    fn put(&mut self, items: Vec<T>, change: Change) -> Result<(), CliError> {
        let differs = |item: &T| match self.shown.get(&item.id()) {
            None => true,
            Some(before) => self.shows_difference(before, item),
        };
        let changed: Vec<T> = items.into_iter().filter(differs).collect();
        self.emit(&changed, change)?;
        self.shown
            .extend(changed.into_iter().map(|item| (item.id(), item)));
        Ok(())
    }

    fn shows_difference(&self, before: &T, after: &T) -> bool {
        match self.out.format {
            Format::Table | Format::Wide => row(&self.out, before) != row(&self.out, after),
            Format::Json | Format::Yaml => {
                let document = |item: &T| serde_json::to_string(item).ok();
                document(before) != document(after)
            }
            Format::Name => false,
        }
    }

    fn emit(&mut self, items: &[T], change: Change) -> Result<(), CliError> {
        match self.out.format {
            Format::Table | Format::Wide => {
                let row = |item| match change {
                    Change::Removed => gone_row(&self.out, item),
                    Change::Current | Change::Changed => row(&self.out, item),
                };
                let rows: Vec<_> = items.iter().map(row).collect();
                self.out.data(&self.table.render(&rows))
            }
            Format::Name if change == Change::Removed => Ok(()),
            Format::Name => self.out.data(&keys(items)),
            Format::Json | Format::Yaml => items.iter().try_for_each(|item| {
                let item = BTreeMap::from([(T::KIND, item)]);
                self.out.item(&Line { change, item })
            }),
        }
    }
}

/// The last row of an object, with `removed` in place of its state.
fn gone_row<T: Listed>(out: &Output, item: &T) -> Vec<Cell> {
    let mut row = row(out, item);
    let state = columns::<T>(out).position(|column| column.title == "STATE");
    if let Some(cell) = state.and_then(|at| row.get_mut(at)) {
        *cell = Cell::toned("removed", Tone::Waiting);
    }
    if let Some(message) = row.last_mut() {
        *message = "".into();
    }
    row
}
