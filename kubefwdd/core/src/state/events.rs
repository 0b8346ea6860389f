//! The events that follow from what readers see change.

use kubefwd_model::{
    Event, EventKind, Forward, ForwardStatus, Service, ServiceKey, ServiceStatus, Time,
};

/// What happened to a service, from how it was to how it is.
pub(super) fn service_events(
    key: &ServiceKey,
    old: Option<&Service>,
    new: Option<&Service>,
    time: Time,
) -> Vec<Event> {
    let mut events = Events {
        key,
        time,
        list: Vec::new(),
    };
    events.of_service(old, new);
    let before = old.map(|old| old.forwards.as_slice()).unwrap_or_default();
    let after = new.map(|new| new.forwards.as_slice()).unwrap_or_default();
    for forward in before {
        let now = after.iter().find(|after| same_address(after, forward));
        events.of_forward_before(forward, now);
    }
    for forward in after {
        let was = before.iter().find(|before| same_address(before, forward));
        events.of_forward_after(was, forward);
    }
    if let Some(new) = new.filter(|new| new.status == ServiceStatus::Error)
        && old.is_none_or(|old| {
            old.status != ServiceStatus::Error || old.status_reason != new.status_reason
        })
    {
        events.add(EventKind::ServiceError, None, new.status_reason.clone());
    }
    events.list
}

struct Events<'a> {
    key: &'a ServiceKey,
    time: Time,
    list: Vec<Event>,
}

// === impl Events ===

impl Events<'_> {
    fn add(&mut self, kind: EventKind, forward: Option<&Forward>, message: String) {
        let pod = forward.map(|f| f.pod.clone()).filter(|pod| !pod.is_empty());
        self.list.push(Event {
            time: self.time,
            kind,
            uid: self.key.uid,
            namespace: self.key.namespace_key(),
            service: Some(self.key.clone()),
            forward: forward.map(|f| f.key.clone()),
            pod,
            message,
        });
    }

    fn of_service(&mut self, old: Option<&Service>, new: Option<&Service>) {
        let key = self.key;
        let (kind, message) = match (old, new) {
            (None, Some(new)) if new.status == ServiceStatus::Unsupported => {
                let message = format!("{key} cannot be forwarded: {}", new.status_reason);
                (EventKind::ServiceAdded, message)
            }
            (None, Some(_)) => (EventKind::ServiceAdded, format!("{key} is forwarded")),
            (Some(_), None) => {
                let message = format!("{key} is no longer forwarded");
                (EventKind::ServiceRemoved, message)
            }
            (Some(old), Some(new)) if shape(old) != shape(new) => {
                (EventKind::ServiceUpdated, format!("{key} changed"))
            }
            _ => return,
        };
        self.add(kind, None, message);
    }

    fn of_forward_before(&mut self, before: &Forward, after: Option<&Forward>) {
        let was_active = before.status == ForwardStatus::Active;
        if was_active && after.is_none_or(|f| f.status != ForwardStatus::Active) {
            let message = why_lost(after);
            self.add(EventKind::ForwardDisconnected, Some(before), message);
        }
        if !before.pod.is_empty() && after.is_none_or(|f| f.pod != before.pod) {
            let message = format!("{} stopped serving", before.pod);
            self.add(EventKind::PodRemoved, Some(before), message);
        }
    }

    fn of_forward_after(&mut self, before: Option<&Forward>, after: &Forward) {
        if !after.pod.is_empty() && before.is_none_or(|f| f.pod != after.pod) {
            let message = format!("{} is serving", after.pod);
            self.add(EventKind::PodAdded, Some(after), message);
        }
        let was_active = before.is_some_and(|f| f.status == ForwardStatus::Active);
        if !was_active && after.status == ForwardStatus::Active {
            let message = format!("{}:{} is ready", after.address, after.local_port);
            self.add(EventKind::ForwardConnected, Some(after), message);
        }
    }
}

fn same_address(left: &Forward, right: &Forward) -> bool {
    (left.address, left.local_port) == (right.address, right.local_port)
}

fn why_lost(after: Option<&Forward>) -> String {
    let Some(after) = after else {
        return "removed".to_owned();
    };
    match (after.status, &after.failure) {
        (_, Some(failure)) => failure.message.clone(),
        (ForwardStatus::Stopping, None) => "removed".to_owned(),
        (ForwardStatus::Pending, None) => "no pod is ready".to_owned(),
        (ForwardStatus::Connecting | ForwardStatus::Active | ForwardStatus::Error, None) => {
            "being set up again".to_owned()
        }
    }
}

/// What makes a service look different to its users, beyond its state and counters.
fn shape(view: &Service) -> impl PartialEq + '_ {
    let forwards: Vec<_> = view
        .forwards
        .iter()
        .map(|f| (f.address, f.local_port, f.service_port))
        .collect();
    (view.address, &view.hostnames, forwards, view.headless)
}
