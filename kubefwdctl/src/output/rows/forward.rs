//! Forwards in lists.

use super::{errors, state};
use crate::cache::Objects;
use crate::item::{ForwardItem, ServiceItem};
use crate::output::changes::Cached;
use crate::output::listing::{Column, Listed};
use crate::output::units;

impl Listed for ForwardItem {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("SERVICE", |it| it.service.key().into()),
        Column::new("LOCAL", |it| {
            format!("{}:{}", it.forward.address, it.forward.local_port).into()
        }),
        Column::new("POD", |it| it.pod().into()),
        Column::new("STATE", |it| state(it.forward.status.as_str())),
        Column::new("CONNS", |it| it.forward.traffic.active.to_string().into()),
        Column::new("IN", |it| units::bytes(it.forward.traffic.bytes_in).into()),
        Column::new("OUT", |it| {
            units::bytes(it.forward.traffic.bytes_out).into()
        }),
        Column::wide("TOTAL", |it| it.forward.traffic.opened.to_string().into()),
        Column::wide("FAILED", |it| errors(it.forward.traffic.failed)),
        Column::wide("FIRST-BYTE", |it| {
            units::micros(it.forward.traffic.first_byte.mean_us()).into()
        }),
        Column::wide("LAST-ACTIVE", |it| {
            units::local(it.forward.traffic.last_active).into()
        }),
        Column::wide("OWNER", |it| it.service.owner.as_str().into()),
        Column::wide("KEY", |it| it.forward.key.as_str().into()),
        Column::new("MESSAGE", |it| {
            let failure = it.forward.failure.as_ref();
            failure.map_or("", |failure| &failure.message).into()
        }),
    ];

    fn key(&self) -> String {
        self.forward.key.clone()
    }
}

impl Cached for ForwardItem {
    const KIND: &'static str = "forward";
    const PLURAL: &'static str = "forwards";

    fn uid(&self) -> u32 {
        self.service.uid()
    }

    fn select(objects: Objects) -> Vec<Self> {
        let of_services = objects.services.iter().flat_map(ServiceItem::forwards);
        of_services.chain(objects.forwards).collect()
    }
}

impl ForwardItem {
    /// `db-0:5432`; `-` without a pod.
    fn pod(&self) -> String {
        match self.forward.pod.as_str() {
            "" => "-".to_owned(),
            pod => format!("{pod}:{}", self.forward.pod_port),
        }
    }
}
