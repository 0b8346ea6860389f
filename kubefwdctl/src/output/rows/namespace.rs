//! Namespaces in lists.

use kubefwd_model::Selection;

use super::{errors, or_dash, state};
use crate::cache::Objects;
use crate::item::NamespaceItem;
use crate::output::changes::Cached;
use crate::output::listing::{Column, Listed};
use crate::output::units;

impl Listed for NamespaceItem {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("NAMESPACE", |it| it.namespace.key.namespace.as_str().into()),
        Column::new("CONTEXT", |it| it.namespace.key.context.as_str().into()),
        Column::new("STATE", |it| state(it.namespace.status.as_str())),
        Column::new("ACTIVE", |it| {
            format!("{}/{}", it.sums.services_active, it.sums.services).into()
        }),
        Column::new("ERRORS", |it| errors(it.sums.errors as u64)),
        Column::wide("KEY", |it| it.key().into()),
        Column::wide("OWNER", |it| it.owner.as_str().into()),
        Column::wide("SELECTION", |it| {
            let selection = it.namespace.selection.as_ref().map(options);
            or_dash(&selection.unwrap_or_default())
        }),
        Column::wide("ATTACHED", |it| match it.namespace.attached {
            true => "yes".into(),
            false => "no".into(),
        }),
        Column::wide("ADDED", |it| {
            units::local(Some(it.namespace.started_at)).into()
        }),
        Column::new("MESSAGE", |it| match &it.namespace.failure {
            Some(failure) => failure.message.as_str().into(),
            None => it.namespace.notes.join("; ").into(),
        }),
    ];

    fn key(&self) -> String {
        self.namespace.key.to_string()
    }
}

impl Cached for NamespaceItem {
    const KIND: &'static str = "namespace";
    const PLURAL: &'static str = "namespaces";

    fn uid(&self) -> u32 {
        self.namespace.key.uid.get()
    }

    fn select(objects: Objects) -> Vec<Self> {
        objects.namespaces
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
