//! Which services of a namespace, and how they are forwarded.

use kubefwd_model::{Balance, Selection};

use super::words;
use crate::common::v1 as pb;

words!(
    pb::Balance,
    Balance {
        Primary,
        RoundRobin,
        LeastConnections
    }
);

impl From<Selection> for pb::Selection {
    fn from(selection: Selection) -> Self {
        let Selection {
            label_selector,
            field_selector,
            include,
            exclude,
        } = selection;
        Self {
            label_selector,
            field_selector,
            include,
            exclude,
        }
    }
}

impl From<pb::Selection> for Selection {
    fn from(selection: pb::Selection) -> Self {
        let pb::Selection {
            label_selector,
            field_selector,
            include,
            exclude,
        } = selection;
        Self {
            label_selector,
            field_selector,
            include,
            exclude,
        }
    }
}
