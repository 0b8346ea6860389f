//! What is wrong, since when, and what mends it.

use super::{Control, RestStatus};
use crate::telemetry::errors::Holder;
use crate::telemetry::refused_name;
use kubefwd_core::policy::{Actor, GROUP};
use kubefwd_core::state::{DeniedPeer, shown};
use kubefwd_model::{Finding, ServiceStatus, Severity, Uid, WorkerState};

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
                findings.push(self.note(&holder, note.clone()));
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
            for refused in &service.refused_names {
                findings.push(self.note(&holder, refused_name(refused)));
            }
        }
        findings
    }

    /// Something worth knowing, since it is so; what to do about it follows a semicolon.
    fn note(&self, holder: &Holder, text: String) -> Finding {
        let since = self.telemetry().notes.since(holder, &text);
        let (message, hint) = text.split_once("; ").unwrap_or((&text, ""));
        let subject = holder.to_string();
        Finding {
            since: since.map(Into::into),
            ..finding(Severity::Note, &subject, message.to_owned(), hint)
        }
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
