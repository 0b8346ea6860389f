//! Changes in a namespace, as frames for the daemon.

use kubefwd_proto::channel::MAX_FRAME;
use kubefwd_proto::worker::v1::ServicesReport;
use prost::Message;

use crate::index::Changes;

/// Services in one frame, bytes: well below the limit, so that one large frame does not hold up others.
const REPORT: usize = MAX_FRAME / 4;

/// Splits changes into as many frames as necessary.
pub(super) fn services(context: &str, namespace: &str, changes: Changes) -> Vec<ServicesReport> {
    let Changes {
        complete,
        services,
        removed,
        touched: _,
        gone: _,
    } = changes;
    let frame = || ServicesReport {
        context: context.to_owned(),
        namespace: namespace.to_owned(),
        ..ServicesReport::default()
    };
    let mut last = frame();
    let mut frames = Vec::new();
    let mut bytes = 0;
    let mut room_for = |size: usize, last: &mut ServicesReport| {
        if bytes > 0 && bytes + size > REPORT {
            frames.push(std::mem::replace(last, frame()));
            bytes = 0;
        }
        bytes += size;
    };
    for service in services {
        room_for(service.encoded_len(), &mut last);
        last.services.push(service);
    }
    for name in removed {
        room_for(name.len(), &mut last);
        last.removed.push(name);
    }
    last.complete = complete;
    if complete || !last.services.is_empty() || !last.removed.is_empty() {
        frames.push(last);
    }
    if let Some(first) = frames.first_mut() {
        first.first = complete;
    }
    frames
}

#[cfg(test)]
mod tests;
