//! Namespaces in lists.

use kubefwd_model::Selection;

use super::{errors, insert, or_dash, state, titles};
use crate::item::NamespaceItem;
use crate::output::listing::Listed;
use crate::output::table::Cell;
use crate::output::units;

impl Listed for NamespaceItem {
    const KIND: &'static str = "namespace";
    const PLURAL: &'static str = "namespaces";

    fn header(wide: bool) -> Vec<&'static str> {
        let narrow = [
            "NAMESPACE",
            "CONTEXT",
            "STATE",
            "ACTIVE",
            "ERRORS",
            "MESSAGE",
        ];
        let more = ["KEY", "OWNER", "SELECTION", "ATTACHED", "ADDED"];
        titles(&narrow, wide, &more)
    }

    fn row(&self, wide: bool) -> Vec<Cell> {
        let Self {
            namespace,
            sums,
            owner,
        } = self;
        let message = match &namespace.failure {
            Some(failure) => failure.message.clone(),
            None => namespace.notes.join("; "),
        };
        let mut row = vec![
            namespace.key.namespace.as_str().into(),
            namespace.key.context.as_str().into(),
            state(namespace.status.as_str()),
            format!("{}/{}", sums.services_active, sums.services).into(),
            errors(sums.errors as u64),
            message.into(),
        ];
        if wide {
            let selection = namespace.selection.as_ref().map(options);
            let more = [
                self.key().into(),
                owner.into(),
                or_dash(&selection.unwrap_or_default()).into(),
                (if namespace.attached { "yes" } else { "no" }).into(),
                units::local(Some(namespace.started_at)).into(),
            ];
            insert(&mut row, more);
        }
        row
    }

    fn key(&self) -> String {
        self.namespace.key.to_string()
    }

    fn uid(&self) -> u32 {
        self.namespace.key.uid.get()
    }
}

/// A selection as command line options.
fn options(selection: &Selection) -> String {
    let Selection {
        label_selector,
        field_selector,
        include,
        exclude,
    } = selection;
    let mut parts = Vec::new();
    if !label_selector.is_empty() {
        parts.push(format!("-l {label_selector}"));
    }
    if !field_selector.is_empty() {
        parts.push(format!("-f {field_selector}"));
    }
    parts.extend(include.iter().map(|glob| format!("--include {glob}")));
    parts.extend(exclude.iter().map(|glob| format!("--exclude {glob}")));
    parts.join(" ")
}
