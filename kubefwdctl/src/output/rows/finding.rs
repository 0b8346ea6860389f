//! The findings of `doctor`.

use kubefwd_model::Finding;

use super::state;
use crate::output::listing::{Column, Listed};
use crate::output::units;

impl Listed for Finding {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("RESULT", |it| state(it.severity.as_str())),
        Column::new("SUBJECT", |it| it.subject.as_str().into()),
        Column::wide("SINCE", |it| units::local(it.since).into()),
        Column::new("MESSAGE", |it| it.message.as_str().into()),
    ];

    fn key(&self) -> String {
        self.subject.clone()
    }

    fn footnote(&self) -> &str {
        &self.hint
    }
}
