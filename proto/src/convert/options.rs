//! Which services of a namespace, and how they are forwarded.

use kubefwd_model::{Balance, Selection};

use super::words;
use crate::common::v1 as pb;

words!(pb::Balance, Balance, Primary, RoundRobin, LeastConnections);

impl From<Selection> for pb::Selection {
    fn from(selection: Selection) -> Self {
        Self {
            label_selector: selection.label_selector,
            field_selector: selection.field_selector,
            include: selection.include,
            exclude: selection.exclude,
        }
    }
}

impl From<pb::Selection> for Selection {
    fn from(selection: pb::Selection) -> Self {
        Self {
            label_selector: selection.label_selector,
            field_selector: selection.field_selector,
            include: selection.include,
            exclude: selection.exclude,
        }
    }
}
