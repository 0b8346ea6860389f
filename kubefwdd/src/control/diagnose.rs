//! What is wrong, since when, and what mends it.

use std::time::SystemTime;

use super::{Control, RestStatus};
use crate::core::policy::{Actor, GROUP};
use crate::core::state::{
    ForwardState, NamespaceState, ServiceState, Stranger, WorkerState, shown,
};
use crate::telemetry::errors::Holder;
use crate::telemetry::refused_name;

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// The command that mends it; may be empty.
    pub hint: String,
    /// Since when.
    pub since: Option<SystemTime>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Works, but not as it could.
    Warning,
    /// Does not work.
    Error,
}

impl Control {
    /// Looks at the daemon, the hosts file, REST, and the caller's forwards.
    pub fn diagnose(&self, actor: &Actor) -> Vec<Finding> {
        let mut findings = self.daemon_findings();
        let view = self.view();
        for (uid, worker) in view.workers.iter().filter(|(uid, _)| actor.sees(**uid)) {
            if worker.state == WorkerState::Backoff {
                let message = format!("died and is started again: {}", worker.error);
                let hint = "journalctl -u kubefwdd";
                findings.push(finding(
                    Severity::Error,
                    &format!("worker of uid {uid}"),
                    message,
                    hint,
                ));
            }
            for (stranger, seen) in &worker.strangers {
                findings.push(refused(*stranger, seen));
            }
        }
        for namespace in view.namespaces.values().filter(|n| actor.sees(n.key.uid)) {
            let subject = namespace.key.to_string();
            if let NamespaceState::Failed(problem) = &namespace.state {
                findings.push(Finding {
                    since: namespace.failed_since,
                    ..finding(
                        Severity::Error,
                        &subject,
                        problem.message.clone(),
                        &problem.hint,
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
            let severity = match service.state {
                ServiceState::Active => None,
                ServiceState::Unsupported => Some(Severity::Note),
                ServiceState::Pending | ServiceState::Partial => Some(Severity::Warning),
                ServiceState::Error => Some(Severity::Error),
            };
            if let Some(severity) = severity {
                let found = finding(severity, &subject, service.reason.clone(), &service.hint);
                findings.push(Finding { since, ..found });
            }
            for forward in &service.forwards {
                if let ForwardState::Error { message, hint, .. } = &forward.state
                    && *message != service.reason
                {
                    findings.push(finding(
                        Severity::Error,
                        &forward.key,
                        message.clone(),
                        hint,
                    ));
                }
            }
            let holder = Holder::Service(service.key.clone());
            for (name, why) in &service.refused_names {
                findings.push(self.note(&holder, refused_name(name, why)));
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
            since,
            ..finding(Severity::Note, &subject, message.to_owned(), hint)
        }
    }

    fn daemon_findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let hosts = self.hosts();
        let path = self.info().hosts_path.display().to_string();
        findings.push(match &hosts.error {
            Some(error) => Finding {
                since: hosts.failing_since,
                ..finding(
                    Severity::Error,
                    "hosts file",
                    error.to_string(),
                    &format!("let root write {path}; it is tried again by itself"),
                )
            },
            None => {
                let message = format!("{path} holds {} entries of kubefwd", hosts.entries);
                finding(Severity::Ok, "hosts file", message, "")
            }
        });
        if hosts.tampered > 0 {
            let message = format!(
                "another program changed kubefwd's lines in {path}, {} times so far; they were put back",
                hosts.tampered
            );
            let hint =
                format!("let that program leave the lines between kubefwd's marks in {path} alone");
            findings.push(Finding {
                since: hosts.last_tampered,
                ..finding(Severity::Note, "hosts file", message, &hint)
            });
        }
        findings.push(match self.rest() {
            RestStatus::At(url) => finding(Severity::Ok, "REST", format!("answers at {url}"), ""),
            RestStatus::Off => {
                let message = "is turned off; the unix socket still serves it".to_owned();
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
        let users: std::collections::BTreeSet<u32> =
            self.view().namespaces.keys().map(|key| key.uid).collect();
        if !users.is_empty() {
            let message = match self.view().access_limited {
                true => "the forwarded ports are for the user who forwards, root and group kubefwd",
                false => "every local user can connect to the forwarded ports",
            };
            let hint = "forwarding.access in the configuration decides";
            findings.push(finding(Severity::Note, "access", message.to_owned(), hint));
        }
        findings
    }
}

/// Somebody was kept out, which may be meant or not.
fn refused(stranger: Option<u32>, seen: &Stranger) -> Finding {
    let times = match seen.count {
        1 => "a connection".to_owned(),
        count => format!("{count} connections"),
    };
    let message = format!(
        "{times} of {} refused, the last to {}: the ports are for the user who forwards, root and group {GROUP}",
        shown(stranger),
        seen.port
    );
    let hint = "to let that user in: sudo usermod -aG kubefwd USER; to let everybody in: access = \"everyone\" below \
                [forwarding] in the configuration";
    Finding {
        since: Some(seen.last),
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
