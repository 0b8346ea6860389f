//! The reported state of a namespace: a pure function of what its watches saw.

use kubefwd_model::{Failure, failure};
use kubefwd_proto::worker::v1::{NamespacePhase, NamespaceReport};

use super::existence::Existence;

/// What the watches of one namespace saw last.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// Failures of the watches of services; the first one counts.
    pub(super) services: [Option<Failure>; 2],
    /// The failure of the watch of EndpointSlices or pods.
    pub(super) backing: Option<Failure>,
    /// Why pods are read instead of EndpointSlices.
    pub(super) fallback: Option<Failure>,
    /// `None`: not asked yet.
    pub(super) existence: Option<Existence>,
    /// Everything was listed.
    pub(super) synced: bool,
    /// There is a service, so the namespace exists.
    pub(super) has_services: bool,
}

impl Status {
    /// The report to the daemon; its context and namespace are left to the caller.
    pub(super) fn report(&self) -> NamespaceReport {
        let (phase, failure) = self.phase();
        NamespaceReport {
            phase: phase.into(),
            failure: failure.map(Into::into),
            notes: self.notes(),
            ..NamespaceReport::default()
        }
    }

    fn phase(&self) -> (NamespacePhase, Option<Failure>) {
        if !self.has_services && self.existence == Some(Existence::Missing) {
            let failure = failure!(
                NamespaceNotFound,
                "the cluster has no namespace with this name"
            )
            .hint("check the spelling; once it is created, its services are forwarded");
            return (NamespacePhase::Failed, Some(failure));
        }
        let failure = self.services.iter().flatten().chain(&self.backing).next();
        if let Some(failure) = failure {
            return (NamespacePhase::Failed, Some(failure.clone()));
        }
        if self.synced && (self.has_services || self.existence.is_some()) {
            (NamespacePhase::Watching, None)
        } else {
            (NamespacePhase::Connecting, None)
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(failure) = &self.fallback {
            notes.push(format!(
                "EndpointSlices cannot be read ({}), so pods are found by the services' selectors",
                failure.message
            ));
        }
        if self.existence == Some(Existence::Terminating) {
            notes.push("the namespace is being deleted".to_owned());
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use kubefwd_model::Reason;

    use super::*;

    fn phase(status: &Status) -> (NamespacePhase, Option<Reason>) {
        let (phase, failure) = status.phase();
        (phase, failure.map(|failure| failure.reason))
    }

    #[test]
    fn an_empty_namespace_is_watched_only_once_it_is_known_to_exist() {
        let mut status = Status {
            synced: true,
            ..Status::default()
        };
        assert_eq!(phase(&status), (NamespacePhase::Connecting, None));
        status.existence = Some(Existence::Missing);
        assert_eq!(
            phase(&status),
            (NamespacePhase::Failed, Some(Reason::NamespaceNotFound))
        );
        status.existence = Some(Existence::Present);
        assert_eq!(phase(&status), (NamespacePhase::Watching, None));
    }

    #[test]
    fn a_service_proves_that_the_namespace_exists() {
        let status = Status {
            synced: true,
            has_services: true,
            existence: Some(Existence::Missing),
            ..Status::default()
        };
        assert_eq!(phase(&status), (NamespacePhase::Watching, None));
    }

    #[test]
    fn failures_win_over_progress_and_notes_stay() {
        let forbidden = failure!(ForbiddenByCluster, "permission denied");
        let status = Status {
            services: [None, Some(forbidden.clone())],
            fallback: Some(forbidden),
            ..Status::default()
        };
        assert_eq!(
            phase(&status),
            (NamespacePhase::Failed, Some(Reason::ForbiddenByCluster))
        );
        assert!(status.report().notes[0].contains("permission denied"));
    }
}
