//! An event as it is printed.

use kubefwd_model::Time;
use kubefwd_proto::control::v1 as pb;
use kubefwd_proto::convert::to_time;
use serde::Serialize;

use crate::output::listing::{Column, Listed};
use crate::output::rows::or_dash;
use crate::output::table::{Cell, Tone};
use crate::output::units;

/// An event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    id: u64,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timestamp: Option<Time>,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    service_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    forward_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pod_name: String,
    message: String,
}

impl Event {
    /// The smallest object that it is about.
    fn object(&self) -> &str {
        let candidates = [&self.forward_key, &self.service_key, &self.namespace_key];
        let mut known = candidates.into_iter().filter(|key| !key.is_empty());
        known.next().map_or("", String::as_str)
    }
}

impl From<pb::Event> for Event {
    fn from(event: pb::Event) -> Self {
        Self {
            id: event.id,
            kind: event.r#type,
            timestamp: to_time(&event.time),
            namespace_key: event.namespace_key,
            service_key: event.service_key,
            forward_key: event.forward_key,
            pod_name: event.pod,
            message: event.message,
        }
    }
}

impl Listed for Event {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("TIME", |it| units::local(it.timestamp).into()),
        Column::new("TYPE", |it| match it.kind.ends_with(".error") {
            true => Cell::toned(&it.kind, Tone::Bad),
            false => it.kind.as_str().into(),
        }),
        Column::new("OBJECT", |it| or_dash(it.object())),
        Column::wide("ID", |it| it.id.to_string().into()),
        Column::wide("POD", |it| or_dash(&it.pod_name)),
        Column::new("MESSAGE", |it| it.message.as_str().into()),
    ];

    fn key(&self) -> String {
        self.object().to_owned()
    }
}
