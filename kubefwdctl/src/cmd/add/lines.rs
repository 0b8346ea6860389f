//! One line for each service that comes up.

use std::collections::HashMap;

use kubefwd_model::ServiceStatus;

use crate::error::CliError;
use crate::item::{Id, ServiceItem};
use crate::output::changes::Cached as _;
use crate::output::rows::state;
use crate::output::table::{Cell, Table};
use crate::output::{Format, Output};

/// Whether structured output is a stream, one object per line, or one value that the caller prints at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Series {
    /// One value at the end.
    Once,
    /// One object per line.
    Live,
}

/// Prints a line for each service once it is up (or cannot be), and again when that changes.
pub(super) struct ServiceLines {
    out: Output,
    series: Series,
    table: Table,
    printed: HashMap<Id, Vec<Cell>>,
}

impl ServiceLines {
    /// Nothing is printed yet.
    pub(super) fn new(out: Output, series: Series) -> Self {
        Self {
            table: Table::new(out.is_coloured()),
            out,
            series,
            printed: HashMap::new(),
        }
    }

    /// Prints those of these services whose line is new or has changed.
    pub(super) fn show(&mut self, items: &[ServiceItem]) -> Result<(), CliError> {
        let mut rows = Vec::new();
        for item in items {
            let (id, row) = (item.id(), row(item));
            self.table.measure(&row);
            let is_due = match self.printed.get(&id) {
                Some(before) => *before != row,
                None => matches!(
                    item.service.status,
                    ServiceStatus::Active | ServiceStatus::Unsupported
                ),
            };
            if !is_due {
                continue;
            }
            self.printed.insert(id, row.clone());
            match self.out.format {
                Format::Json | Format::Yaml if self.series == Series::Live => {
                    self.out.item(item)?;
                }
                _ if self.out.confirms() => rows.push(row),
                _ => {}
            }
        }
        self.out.data(&self.table.render(&rows))
    }
}

/// `db  127.1.27.1:5432  demo/db  active`
fn row(item: &ServiceItem) -> Vec<Cell> {
    let service = &item.service;
    let name = &service.key.service;
    let mut row = vec![
        name.as_str().into(),
        item.address_and_ports().into(),
        format!("{}/{name}", service.key.namespace).into(),
        state(service.status.as_str()),
    ];
    if service.status != ServiceStatus::Active {
        row.push(service.status_reason.as_str().into());
    }
    row
}
