//! The overall state, and the calls that fix what is wrong, for programs.

use std::collections::BTreeSet;
use std::sync::Arc;

use kubefwd_core::policy::Actor;
use kubefwd_core::state::View;
use kubefwd_model as model;
use kubefwd_model::{Finding, Health, ServiceStatus, duration};
use kubefwd_telemetry::errors::{ErrorRecord, Holder};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::envelope::Envelope;
use crate::error::ErrorResponses;
use crate::extract::Call;
use crate::keys;
use crate::types::analysis::{
    Analysis, AnalysisStats, Issue, Recommendation, Status, SuggestedAction, severity,
};
use crate::types::diagnostics::ServiceCounts;
use crate::types::non_empty;
use crate::types::services::Summary;

/// The most recommendations and suggested actions in one answer.
const MAX_ADVICE: usize = 100;
/// What needs no encoding in a path.
const PATH_SAFE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b':')
    .remove(b'@');

/// Status
///
/// The overall state in one sentence.
#[utoipa::path(get, path = "/api/v1/status", tag = "Analysis", responses(
    (status = 200, description = "The status", body = Envelope<Status>), ErrorResponses,
))]
pub(crate) async fn status(call: Call) -> Envelope<Status> {
    let findings = call.control.diagnose(&call.caller);
    let counts = Summary::of(&*call.control, &call.caller).counts;
    let by_status = ServiceCounts::of(keys::visible(&call.control.view(), &call.caller));
    let high = findings.iter().filter(|finding| is_high(finding));
    let message = match high.clone().next() {
        Some(first) => format!(
            "{} problems; the first: {}: {}",
            high.count(),
            first.subject,
            first.message
        ),
        None => summary(&by_status),
    };
    Envelope::new(Status {
        status: health_of(&call, &findings),
        message,
        counts,
        uptime: duration::since(call.control.info().started_at),
    })
}

/// What works, where nothing is wrong. Services that cannot be forwarded are neither active nor in error.
fn summary(services: &ServiceCounts) -> String {
    let forwarding = services.active + services.partial;
    match (services.total - services.unsupported, services.unsupported) {
        (0, _) => "Nothing is forwarded yet".to_owned(),
        (possible, _) if possible > forwarding => {
            format!("{forwarding} of {possible} services forwarding")
        }
        (_, 0) => "All services forwarding normally".to_owned(),
        (_, unsupported) => format!(
            "All services forwarding normally, except {unsupported} that cannot be forwarded"
        ),
    }
}

/// Analysis
///
/// What is wrong, since when, and the command or call that fixes it.
#[utoipa::path(get, path = "/api/v1/analyze", tag = "Analysis", responses(
    (status = 200, description = "The analysis", body = Envelope<Analysis>), ErrorResponses,
))]
pub(crate) async fn analyze(call: Call) -> Envelope<Analysis> {
    let view = call.control.view();
    let findings = call.control.diagnose(&call.caller);
    let errors = &call.control.telemetry().errors;
    let open = errors.open(MAX_ADVICE, |uid| call.caller.sees(uid));
    let issues: Vec<Issue> = findings
        .iter()
        .filter_map(|finding| issue(finding, &open))
        .collect();
    let by_status = ServiceCounts::of(keys::visible(&view, &call.caller));
    let possible = by_status.total - by_status.unsupported;
    let affected = possible - by_status.active - by_status.partial;
    let summary = match (issues.len(), by_status.total) {
        (_, 0) => "Nothing is forwarded yet".to_owned(),
        (0, total) => format!("All {total} services are forwarded"),
        (n, _) => format!("{n} findings; {affected} of {possible} services are not active"),
    };
    Envelope::new(Analysis {
        status: health_of(&call, &findings),
        summary,
        issues,
        recommendations: recommendations(&findings),
        suggested_actions: suggested_actions(&view, &call.caller),
        stats: AnalysisStats {
            counts: Summary::of(&*call.control, &call.caller).counts,
            errored_services: by_status.error,
            uptime: duration::since(call.control.info().started_at),
        },
    })
}

fn issue(finding: &Finding, open: &[ErrorRecord]) -> Option<Issue> {
    let severity = severity(finding)?;
    let record = open.iter().find(|record| {
        let forward = record.found.forward.as_ref();
        forward.is_some_and(|(_, _, key)| *key == finding.subject)
            || record.holder.to_string() == finding.subject
    });
    let service_key = record.and_then(|record| match &record.holder {
        Holder::Service(key) => Some(key.to_string()),
        Holder::Namespace(_) | Holder::Worker(_) => None,
    });
    Some(Issue {
        severity,
        component: finding.subject.clone(),
        service_key,
        message: finding.message.clone(),
        hint: non_empty(&finding.hint),
        since: record.map(|record| record.time.into()).or(finding.since),
        error_type: record.map(|record| record.found.kind),
    })
}

fn recommendations(findings: &[Finding]) -> Vec<Recommendation> {
    let mut seen = BTreeSet::new();
    advice(findings)
        .filter(|(finding, hint)| seen.insert((finding.subject.clone(), hint.clone())))
        .take(MAX_ADVICE)
        .filter_map(|(finding, message)| {
            Some(Recommendation {
                priority: severity(finding)?,
                category: finding.subject.clone(),
                message,
            })
        })
        .collect()
}

fn suggested_actions(view: &View, caller: &Actor) -> Vec<SuggestedAction> {
    let fails = |service: &&Arc<model::Service>| {
        let status = service.status;
        matches!(status, ServiceStatus::Error | ServiceStatus::Partial)
    };
    let reconnect = |service: &Arc<model::Service>| {
        let key = service.key.to_string();
        let path = utf8_percent_encode(&key, PATH_SAFE);
        SuggestedAction {
            action: "reconnect",
            reason: service.status_reason.clone(),
            endpoint: format!("/api/v1/services/{path}/reconnect"),
            method: "POST",
            target: key,
        }
    };
    let failing = keys::visible(view, caller).filter(fails);
    failing.take(MAX_ADVICE).map(reconnect).collect()
}

/// What to do about everything that is not as it should be.
pub(super) fn advice(findings: &[Finding]) -> impl Iterator<Item = (&Finding, String)> {
    let wrong = findings
        .iter()
        .filter(|finding| severity(finding).is_some());
    wrong.filter_map(|finding| Some((finding, non_empty(&finding.hint)?)))
}

/// How well everything works for one caller: the daemon as a whole, and what they forward.
pub(super) fn health_of(call: &Call, findings: &[Finding]) -> Health {
    match call.control.health() {
        Health::Unhealthy => Health::Unhealthy,
        _ if findings.iter().any(is_high) => Health::Degraded,
        _ => Health::Healthy,
    }
}

fn is_high(finding: &Finding) -> bool {
    severity(finding) == Some("high")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubefwd_core::samples;
    use kubefwd_telemetry::Telemetry;

    #[test]
    fn what_cannot_be_forwarded_is_neither_active_nor_an_error() {
        let of = |status| {
            let service = samples::service(1.into(), "api", "shop", "kind");
            Arc::new(model::Service { status, ..service })
        };
        let services = [of(ServiceStatus::Active), of(ServiceStatus::Unsupported)];
        let counts = ServiceCounts::of(services.iter());
        let (total, active) = (counts.total, counts.active);
        assert_eq!(
            (total, active, counts.error, counts.unsupported),
            (2, 1, 0, 1)
        );
        assert_eq!(
            summary(&counts),
            "All services forwarding normally, except 1 that cannot be forwarded"
        );
        let telemetry = Telemetry::default();
        let meters = telemetry.meters.read(std::time::SystemTime::now());
        let mut sums = Summary::default();
        services
            .iter()
            .for_each(|service| sums.add(service, &meters));
        assert_eq!((sums.counts.services_active, sums.counts.errors), (1, 0));
    }
}
