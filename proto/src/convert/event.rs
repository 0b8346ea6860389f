//! Events.

use kubefwd_model::Event;

use super::timestamp;
use crate::control::v1 as pb;

impl pb::Event {
    /// An event with its number.
    pub fn new(id: u64, event: &Event) -> Self {
        let service = event.service.as_ref().map(ToString::to_string);
        Self {
            id,
            time: Some(timestamp(event.time)),
            r#type: event.kind.to_string(),
            service_key: service.unwrap_or_default(),
            forward_key: event.forward.clone().unwrap_or_default(),
            pod: event.pod.clone().unwrap_or_default(),
            namespace_key: event.namespace.to_string(),
            message: event.message.clone(),
        }
    }
}
