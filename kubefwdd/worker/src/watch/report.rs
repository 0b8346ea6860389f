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
    let mut frames = vec![frame()];
    let mut bytes = 0;
    let mut room_for = |size: usize, frames: &mut Vec<ServicesReport>| {
        if bytes > 0 && bytes + size > REPORT {
            frames.push(frame());
            bytes = 0;
        }
        bytes += size;
    };
    for service in services {
        room_for(service.encoded_len(), &mut frames);
        if let Some(last) = frames.last_mut() {
            last.services.push(service);
        }
    }
    for name in removed {
        room_for(name.len(), &mut frames);
        if let Some(last) = frames.last_mut() {
            last.removed.push(name);
        }
    }
    if complete {
        if let Some(first) = frames.first_mut() {
            first.first = true;
        }
        if let Some(last) = frames.last_mut() {
            last.complete = true;
        }
    } else if frames.len() == 1 && frames[0].services.is_empty() && frames[0].removed.is_empty() {
        frames.clear();
    }
    frames
}

#[cfg(test)]
mod tests;
