//! Prints events, one by one or as a list.

use super::event::Event;
use crate::error::CliError;
use crate::output::listing::{self, Listed as _};
use crate::output::table::{Cell, Table};
use crate::output::{Format, Output};

/// Prints events as they arrive when watching, else all at the end.
pub(super) struct Printer {
    out: Output,
    table: Table,
    live: bool,
    header_due: bool,
    kept: Vec<Event>,
}

impl Printer {
    /// Nothing is printed yet.
    pub(super) fn new(out: Output, live: bool) -> Self {
        Self {
            table: Table::new(out.is_coloured()),
            out,
            live,
            header_due: true,
            kept: Vec::new(),
        }
    }

    /// Prints it, or keeps it for the end.
    pub(super) fn event(&mut self, event: Event) -> Result<(), CliError> {
        if !self.live {
            self.kept.push(event);
            return Ok(());
        }
        match self.out.format {
            Format::Json | Format::Yaml => self.out.item(&event),
            Format::Name => self.out.data(&format!("{}\n", event.key())),
            Format::Table | Format::Wide => {
                let wide = self.out.format == Format::Wide;
                let mut rows = Vec::new();
                // Printed with the first event, whose widths it needs.
                if std::mem::take(&mut self.header_due) {
                    rows.push(Event::header(wide).into_iter().map(Cell::from).collect());
                }
                rows.push(event.row(wide));
                self.out.data(&self.table.render(&rows))
            }
        }
    }

    /// Prints what was kept.
    pub(super) fn finish(self) -> Result<(), CliError> {
        if self.live {
            return Ok(());
        }
        listing::print(&self.out, &self.kept, "no events")
    }
}
