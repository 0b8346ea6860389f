//! What is wrong, since when, and how to fix it.

mod daemon;
mod strangers;

use std::collections::BTreeMap;
use std::time::SystemTime;

use kubefwd_core::policy::{Actor, GROUP};
use kubefwd_core::state::{DeniedPeer, WorkerView, shown};
use kubefwd_model::{
    Finding, Namespace, RefusedName, Service, ServiceStatus, Severity, Uid, WorkerState,
};
use kubefwd_telemetry::errors::Holder;
use kubefwd_telemetry::note;

use super::Control;

impl Control {
    /// Checks the daemon, the hosts file, REST, and the caller's forwards.
    pub(crate) fn diagnose(&self, actor: &Actor) -> Vec<Finding> {
        let mut findings = self.daemon_findings();
        let view = self.store.view();
        let workers = view.workers.values();
        for worker in workers.filter(|view| actor.sees(view.worker.uid)) {
            worker_findings(worker, &mut findings);
        }
        for namespace in view.namespaces.values().filter(|n| actor.sees(n.key.uid)) {
            self.namespace_findings(namespace, &mut findings);
        }
        for service in view.services.values().filter(|s| actor.sees(s.key.uid)) {
            self.service_findings(service, &mut findings);
        }
        findings.extend(strangers::findings(&view, actor));
        findings
    }

    fn namespace_findings(&self, namespace: &Namespace, findings: &mut Vec<Finding>) {
        let subject = namespace.key.to_string();
        if let Some(failure) = &namespace.failure {
            let found = Finding::new(Severity::Error, &subject, &failure.message);
            findings.push(found.hint(&failure.hint).since(namespace.failed_since));
        }
        let holder = Holder::Namespace(namespace.key.clone());
        for note in &namespace.notes {
            let since = self.telemetry.notes.since(&holder, note);
            findings.push(Finding::new(Severity::Note, &subject, note).since(since));
        }
    }

    fn service_findings(&self, service: &Service, findings: &mut Vec<Finding>) {
        let severity = match service.status {
            ServiceStatus::Active => None,
            ServiceStatus::Unsupported => Some(Severity::Note),
            ServiceStatus::Pending | ServiceStatus::Partial => Some(Severity::Warning),
            ServiceStatus::Error => Some(Severity::Error),
        };
        if let Some(severity) = severity {
            let found = Finding::new(severity, service.key.to_string(), &service.status_reason);
            findings.push(found.hint(&service.hint).since(Some(service.since)));
        }
        for forward in &service.forwards {
            if let Some(failure) = &forward.failure
                && failure.message != service.status_reason
            {
                let found = Finding::new(Severity::Error, &forward.key, &failure.message);
                findings.push(found.hint(&failure.hint));
            }
        }
        let holder = Holder::Service(service.key.clone());
        let since = |refused: &RefusedName| self.telemetry.notes.since(&holder, &note(refused));
        findings.extend(refused_names(service, since));
    }
}

fn worker_findings(WorkerView { worker, denied }: &WorkerView, findings: &mut Vec<Finding>) {
    if worker.state == WorkerState::Backoff {
        let message = format!("is not running: {}", worker.error);
        let subject = format!("worker of uid {}", worker.uid);
        findings
            .push(Finding::new(Severity::Error, subject, message).hint("journalctl -u kubefwdd"));
    }
    let denied = denied.iter().map(|(peer, seen)| self::denied(*peer, seen));
    findings.extend(denied);
}

/// Connections of another user were refused, which may be intended.
fn denied(peer: Option<Uid>, seen: &DeniedPeer) -> Finding {
    let times = match seen.count {
        1 => "a connection".to_owned(),
        count => format!("{count} connections"),
    };
    let message = format!(
        "{times} of {} refused, the last to {}: only the forwarding user, root and group {GROUP} can connect",
        shown(peer),
        seen.port
    );
    let hint = "to allow that user: sudo usermod -aG kubefwd USER; to allow everybody: access = \"everyone\" under \
                [forwarding] in the configuration";
    Finding::new(Severity::Note, "access", message)
        .hint(hint)
        .since(Some(seen.last))
}

/// Names that a service did not get: one finding for all that have the same reason.
fn refused_names(
    service: &Service,
    since: impl Fn(&RefusedName) -> Option<SystemTime>,
) -> Vec<Finding> {
    let mut by_reason: BTreeMap<(&str, &str), Vec<&RefusedName>> = BTreeMap::new();
    for refused in &service.refused_names {
        let reason = (refused.reason.as_str(), refused.hint.as_str());
        by_reason.entry(reason).or_default().push(refused);
    }
    let subject = service.key.to_string();
    let each = by_reason.into_iter().map(|((reason, hint), refused)| {
        let names: Vec<&str> = refused.iter().map(|refused| &*refused.name).collect();
        let what = if names.len() == 1 { "name" } else { "names" };
        let message = format!("{what} {}: {reason}", names.join(", "));
        Finding::new(Severity::Note, &subject, message)
            .hint(hint)
            .since(refused.into_iter().filter_map(&since).min())
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use kubefwd_core::samples;

    #[test]
    fn names_refused_for_one_reason_are_one_finding() {
        let mut service = samples::service(1.into(), "api", "shop", "kind");
        let refused = |name: &str, reason: &str| RefusedName {
            name: name.to_owned(),
            reason: reason.to_owned(),
            hint: "do this".to_owned(),
        };
        service.refused_names = vec![
            refused("api", "taken"),
            refused("api.shop", "taken"),
            refused("api.local", "not allowed"),
        ];
        let since = |refused: &RefusedName| {
            let seconds = refused.name.len() as u64;
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        };
        let findings = refused_names(&service, since);
        let texts: Vec<&str> = findings.iter().map(|found| &*found.message).collect();
        assert_eq!(
            texts,
            ["name api.local: not allowed", "names api, api.shop: taken"]
        );
        assert_eq!(findings[1].hint, "do this");
        assert_eq!(
            findings[1].since,
            since(&service.refused_names[0]).map(Into::into)
        );
    }
}
