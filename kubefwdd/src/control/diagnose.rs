//! What is wrong, since when, and how to fix it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use kubefwd_model::{Finding, RefusedName, Service, ServiceStatus, Severity, Uid, WorkerState};

use super::{Control, RestStatus};
use crate::telemetry::errors::Holder;
use crate::telemetry::note;
use kubefwd_core::policy::{Actor, GROUP};
use kubefwd_core::state::{DeniedPeer, shown};

impl Control {
    /// Looks at the daemon, the hosts file, REST, and the caller's forwards.
    pub fn diagnose(&self, actor: &Actor) -> Vec<Finding> {
        let mut findings = self.daemon_findings();
        let view = self.view();
        for (uid, worker) in view.workers.iter().filter(|(uid, _)| actor.sees(**uid)) {
            if worker.worker.state == WorkerState::Backoff {
                let message = format!("died and is being restarted: {}", worker.worker.error);
                let hint = "journalctl -u kubefwdd";
                findings.push(finding(
                    Severity::Error,
                    &format!("worker of uid {uid}"),
                    message,
                    hint,
                ));
            }
            for (peer, seen) in &worker.denied {
                findings.push(refused(*peer, seen));
            }
        }
        for namespace in view.namespaces.values().filter(|n| actor.sees(n.key.uid)) {
            let subject = namespace.key.to_string();
            if let Some(failure) = &namespace.failure {
                findings.push(Finding {
                    since: namespace.failed_since,
                    ..finding(
                        Severity::Error,
                        &subject,
                        failure.message.clone(),
                        &failure.hint,
                    )
                });
            }
            let holder = Holder::Namespace(namespace.key.clone());
            for note in &namespace.notes {
                let since = self.telemetry().notes.since(&holder, note);
                findings.push(Finding {
                    since: since.map(Into::into),
                    ..finding(Severity::Note, &subject, note.clone(), "")
                });
            }
        }
        let services = view.services.values().filter(|s| actor.sees(s.key.uid));
        for service in services {
            let subject = service.key.to_string();
            let since = Some(service.since);
            let severity = match service.status {
                ServiceStatus::Active => None,
                ServiceStatus::Unsupported => Some(Severity::Note),
                ServiceStatus::Pending | ServiceStatus::Partial => Some(Severity::Warning),
                ServiceStatus::Error => Some(Severity::Error),
            };
            if let Some(severity) = severity {
                let found = finding(
                    severity,
                    &subject,
                    service.status_reason.clone(),
                    &service.hint,
                );
                findings.push(Finding { since, ..found });
            }
            for forward in &service.forwards {
                if let Some(failure) = &forward.failure
                    && failure.message != service.status_reason
                {
                    findings.push(finding(
                        Severity::Error,
                        &forward.key,
                        failure.message.clone(),
                        &failure.hint,
                    ));
                }
            }
            let holder = Holder::Service(service.key.clone());
            let since =
                |refused: &RefusedName| self.telemetry().notes.since(&holder, &note(refused));
            findings.extend(refused_names(service, since));
        }
        findings
    }

    fn daemon_findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let hosts = self.hosts();
        let path = self.info().hosts_path.display().to_string();
        findings.push(match &hosts.error {
            Some(error) => Finding {
                since: hosts.failing_since.map(Into::into),
                ..finding(
                    Severity::Error,
                    "hosts file",
                    error.to_string(),
                    &format!("make {path} writable for root; kubefwdd keeps retrying"),
                )
            },
            None => {
                let message = format!("{path} has {} kubefwd entries", hosts.entries);
                finding(Severity::Ok, "hosts file", message, "")
            }
        });
        if hosts.tampered > 0 {
            let message = format!(
                "another program changed kubefwd's lines in {path}, {} times so far; they were restored",
                hosts.tampered
            );
            let hint = format!(
                "configure that program to leave the lines between kubefwd's markers in {path} alone"
            );
            findings.push(Finding {
                since: hosts.last_tampered.map(Into::into),
                ..finding(Severity::Note, "hosts file", message, &hint)
            });
        }
        findings.push(match self.rest() {
            RestStatus::At(url) => finding(Severity::Ok, "REST", format!("serving at {url}"), ""),
            RestStatus::Off => {
                let message = "is disabled; the unix socket still serves it".to_owned();
                finding(
                    Severity::Note,
                    "REST",
                    message,
                    "set rest.listen in the configuration",
                )
            }
            RestStatus::Failed(why) => {
                let message = format!("{why}; the unix socket still serves it");
                finding(
                    Severity::Warning,
                    "REST",
                    message,
                    "free the port, then restart kubefwdd",
                )
            }
        });
        for warning in self.view().warnings.iter() {
            findings.push(finding(Severity::Warning, "daemon", warning.clone(), ""));
        }
        let users: std::collections::BTreeSet<Uid> =
            self.view().namespaces.keys().map(|key| key.uid).collect();
        if !users.is_empty() {
            let message = match self.view().access_limited {
                true => {
                    "only the forwarding user, root and group kubefwd can connect to forwarded ports"
                }
                false => "every local user can connect to forwarded ports",
            };
            let hint = "forwarding.access in the configuration changes this";
            findings.push(finding(Severity::Note, "access", message.to_owned(), hint));
        }
        findings
    }
}

/// Somebody was kept out, which may be meant or not.
fn refused(peer: Option<Uid>, seen: &DeniedPeer) -> Finding {
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
    Finding {
        since: Some(seen.last.into()),
        ..finding(Severity::Note, "access", message, hint)
    }
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
        Finding {
            since: refused.into_iter().filter_map(&since).min().map(Into::into),
            ..finding(Severity::Note, &subject, message, hint)
        }
    });
    each.collect()
}

fn finding(severity: Severity, subject: &str, message: String, hint: &str) -> Finding {
    let (subject, hint) = (subject.to_owned(), hint.to_owned());
    Finding {
        severity,
        subject,
        message,
        hint,
        since: None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rest::samples;

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
