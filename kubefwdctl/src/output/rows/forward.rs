//! Forwards in lists.

use super::{errors, insert, state, titles};
use crate::item::ForwardItem;
use crate::output::listing::Listed;
use crate::output::table::Cell;
use crate::output::units;

impl Listed for ForwardItem {
    const KIND: &'static str = "forward";
    const PLURAL: &'static str = "forwards";

    fn header(wide: bool) -> Vec<&'static str> {
        let narrow = [
            "SERVICE", "LOCAL", "POD", "STATE", "CONNS", "IN", "OUT", "MESSAGE",
        ];
        let more = [
            "TOTAL",
            "FAILED",
            "FIRST-BYTE",
            "LAST-ACTIVE",
            "OWNER",
            "KEY",
        ];
        titles(&narrow, wide, &more)
    }

    fn row(&self, wide: bool) -> Vec<Cell> {
        let Self { forward, service } = self;
        let traffic = &forward.traffic;
        let pod = match forward.pod.as_str() {
            "" => "-".to_owned(),
            pod => format!("{pod}:{}", forward.pod_port),
        };
        let failure = forward.failure.as_ref();
        let mut row = vec![
            service.key().into(),
            format!("{}:{}", forward.address, forward.local_port).into(),
            pod.into(),
            state(forward.status.as_str()),
            traffic.active.to_string().into(),
            units::bytes(traffic.bytes_in).into(),
            units::bytes(traffic.bytes_out).into(),
            failure.map_or("", |failure| &failure.message).into(),
        ];
        if wide {
            let more = [
                traffic.opened.to_string().into(),
                errors(traffic.failed),
                units::micros(traffic.first_byte.mean_us()).into(),
                units::local(traffic.last_active).into(),
                service.owner.as_str().into(),
                forward.key.as_str().into(),
            ];
            insert(&mut row, more);
        }
        row
    }

    fn key(&self) -> String {
        self.forward.key.clone()
    }

    fn uid(&self) -> u32 {
        self.service.uid()
    }
}
