//! What `--wait` did not see in time.

use kubefwd_model::{Failure, NamespaceStatus, Service};

use super::{Progress, is_settled, services};
use crate::cache::Cache;

/// What is missing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The headline, without the time.
    pub(crate) what: String,
    /// One line for each object.
    pub(crate) causes: Vec<String>,
    /// What the daemon suggests; may be empty.
    pub(crate) hint: String,
}

impl Missing {
    /// What is missing now.
    pub(crate) fn of(progress: &Progress, cache: &Cache) -> Self {
        let mut missing = Self {
            what: String::new(),
            causes: Vec::new(),
            hint: String::new(),
        };
        for key in &progress.targets.namespaces {
            if !progress.is_listed(key, cache) {
                missing.namespace(key, cache);
            }
        }
        for key in &progress.targets.services {
            if !progress.knows(key) {
                missing.add(key, "not known yet", "");
            }
        }
        missing.what = headline(progress, !missing.causes.is_empty());
        for (id, (_, status)) in &progress.known {
            if !is_settled(*status)
                && let Some(item) = cache.services.get(id)
            {
                missing.add(&id.0, &explain(&item.service), &item.service.hint);
            }
        }
        missing
    }

    fn namespace(&mut self, key: &str, cache: &Cache) {
        let Some(item) = cache.namespaces_with_key(key).next() else {
            return self.add(key, "no longer forwarded", "");
        };
        let failure = item.namespace.failure.as_deref();
        let (message, hint) = failure.map_or(("", ""), |Failure { message, hint, .. }| {
            (message.as_str(), hint.as_str())
        });
        let cause = match item.namespace.status {
            NamespaceStatus::Failed => message,
            NamespaceStatus::Connecting => "waiting for the cluster's service list",
            NamespaceStatus::Watching => "some of its services are not set up yet",
        };
        self.add(key, cause, hint);
    }

    /// The first hint is kept.
    fn add(&mut self, key: &str, cause: &str, hint: &str) {
        self.causes.push(format!("{key}: {cause}"));
        if self.hint.is_empty() {
            hint.clone_into(&mut self.hint);
        }
    }
}

fn headline(progress: &Progress, some_unknown: bool) -> String {
    let names = progress.targets.names();
    let known = services(progress.known.len());
    match (some_unknown, progress.unsettled) {
        (false, 0) => format!("{names} did not come up"),
        (false, 1) => format!("1 of {known} is not active"),
        (false, unsettled) => format!("{unsettled} of {known} are not active"),
        (true, 0) => format!("{names} is not fully forwarded"),
        (true, unsettled) => {
            format!("{names} is not fully forwarded, and {unsettled} of {known} not active")
        }
    }
}

/// `pending: no pod is ready`.
fn explain(service: &Service) -> String {
    match service.status_reason.as_str() {
        "" => service.status.to_string(),
        reason => format!("{}: {reason}", service.status),
    }
}
