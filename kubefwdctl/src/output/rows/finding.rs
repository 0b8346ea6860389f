//! The findings of `doctor`.

use kubefwd_model::Finding;

use super::{insert, state, titles};
use crate::output::listing::Listed;
use crate::output::table::Cell;
use crate::output::units;

impl Listed for Finding {
    const KIND: &'static str = "finding";
    const PLURAL: &'static str = "findings";

    fn header(wide: bool) -> Vec<&'static str> {
        titles(&["RESULT", "SUBJECT", "MESSAGE"], wide, &["SINCE"])
    }

    fn row(&self, wide: bool) -> Vec<Cell> {
        let mut row = vec![
            state(self.severity.as_str()),
            self.subject.as_str().into(),
            self.message.as_str().into(),
        ];
        if wide {
            insert(&mut row, [units::local(self.since).into()]);
        }
        row
    }

    fn key(&self) -> String {
        self.subject.clone()
    }

    fn footnote(&self) -> &str {
        &self.hint
    }
}
