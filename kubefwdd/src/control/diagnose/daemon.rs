//! Findings about the daemon itself.

use kubefwd_core::status::RestStatus;
use kubefwd_model::{Finding, Severity};

use crate::control::Control;

impl Control {
    pub(super) fn daemon_findings(&self) -> Vec<Finding> {
        let mut findings = self.hosts_findings();
        findings.push(self.rest_finding());
        let view = self.store.view();
        let warnings = view.warnings.iter();
        findings.extend(warnings.map(|text| Finding::new(Severity::Warning, "daemon", text)));
        if !view.namespaces.is_empty() {
            let message = match view.access_limited {
                true => {
                    "only the forwarding user, root and group kubefwd can connect to forwarded ports"
                }
                false => "every local user can connect to forwarded ports",
            };
            findings.push(
                Finding::new(Severity::Note, "access", message)
                    .hint("forwarding.access in the configuration changes this"),
            );
        }
        findings
    }

    fn hosts_findings(&self) -> Vec<Finding> {
        const SUBJECT: &str = "hosts file";
        let hosts = self.hosts.borrow();
        let path = self.info.hosts_path.display();
        let mut findings = vec![match &hosts.error {
            Some(error) => Finding::new(Severity::Error, SUBJECT, error)
                .hint(format!(
                    "make {path} writable for root; kubefwdd keeps retrying"
                ))
                .since(hosts.failing_since),
            None => {
                let message = format!("{path} has {} kubefwd entries", hosts.entries);
                Finding::new(Severity::Ok, SUBJECT, message)
            }
        }];
        if hosts.tampered > 0 {
            let message = format!(
                "another program changed kubefwd's lines in {path}, {} times so far; they were restored",
                hosts.tampered
            );
            let hint = format!(
                "configure that program to leave the lines between kubefwd's markers in {path} alone"
            );
            let found = Finding::new(Severity::Note, SUBJECT, message).hint(hint);
            findings.push(found.since(hosts.last_tampered));
        }
        findings
    }

    fn rest_finding(&self) -> Finding {
        const SUBJECT: &str = "REST";
        match &self.rest {
            RestStatus::At(url) => Finding::new(Severity::Ok, SUBJECT, format!("serving at {url}")),
            RestStatus::Off => {
                let message = "is disabled; the unix socket still serves it";
                Finding::new(Severity::Note, SUBJECT, message)
                    .hint("set rest.listen in the configuration")
            }
            RestStatus::Failed(why) => {
                let message = format!("{why}; the unix socket still serves it");
                Finding::new(Severity::Warning, SUBJECT, message)
                    .hint("free the port, then restart kubefwdd")
            }
        }
    }
}
