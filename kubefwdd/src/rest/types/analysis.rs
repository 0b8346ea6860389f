//! What is wrong and the calls that mend it, for programs that decide.

use kubefwd_model::{Finding, Health, Severity, Time};
use serde::Serialize;
use utoipa::ToSchema;

/// The overall state in one sentence, for programs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    /// Health.
    pub(crate) status: Health,
    /// The same as a sentence.
    #[schema(example = "All services forwarding normally")]
    pub(crate) message: String,
    /// Services.
    #[schema(example = 15)]
    pub(crate) total_services: usize,
    /// Services that are active or partially active.
    #[schema(example = 15)]
    pub(crate) active_services: usize,
    /// Errors.
    #[schema(example = 0)]
    pub(crate) error_count: usize,
    /// How long the daemon has been running.
    #[schema(example = "2h15m30s")]
    pub(crate) uptime: String,
}

/// What is wrong, and the calls that fix it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Analysis {
    /// Health.
    pub(crate) status: Health,
    /// The same as a sentence.
    #[schema(example = "1 of 3 services has issues")]
    pub(crate) summary: String,
    /// What is wrong.
    pub(crate) issues: Vec<Issue>,
    /// What to do.
    pub(crate) recommendations: Vec<Recommendation>,
    /// Calls that fix it.
    pub(crate) suggested_actions: Vec<SuggestedAction>,
    /// Totals.
    pub(crate) stats: AnalysisStats,
}

/// One problem.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Issue {
    /// low, medium or high.
    #[schema(example = "high")]
    pub(crate) severity: &'static str,
    /// The kind of problem.
    #[schema(example = "api.shop.kind")]
    pub(crate) component: String,
    /// The service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.shop.kind")]
    pub(crate) service_key: Option<String>,
    /// What happened and why.
    #[schema(example = "no pod is ready")]
    pub(crate) message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "see its pods with kubectl")]
    pub(crate) hint: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Time>,
    /// A machine-readable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "connection_refused")]
    pub(crate) error_type: Option<&'static str>,
}

/// A suggested action.
#[derive(Serialize, ToSchema)]
pub(crate) struct Recommendation {
    /// low, medium or high.
    #[schema(example = "high")]
    pub(crate) priority: &'static str,
    /// What it concerns.
    #[schema(example = "api.shop.kind")]
    pub(crate) category: String,
    /// What to do.
    #[schema(example = "see its pods with kubectl")]
    pub(crate) message: String,
}

/// A call that fixes something.
#[derive(Serialize, ToSchema)]
pub(crate) struct SuggestedAction {
    /// What it does.
    #[schema(example = "reconnect")]
    pub(crate) action: &'static str,
    /// What it applies to.
    #[schema(example = "api.shop.kind")]
    pub(crate) target: String,
    /// Why.
    #[schema(example = "the pod refused the connection")]
    pub(crate) reason: String,
    /// The path.
    #[schema(example = "/api/v1/services/api.shop.kind/reconnect")]
    pub(crate) endpoint: String,
    /// The method.
    #[schema(example = "POST")]
    pub(crate) method: &'static str,
}

/// Totals.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AnalysisStats {
    /// Services.
    #[schema(example = 3)]
    pub(crate) total_services: usize,
    /// Services that are active or partially active.
    #[schema(example = 2)]
    pub(crate) active_services: usize,
    /// Services in error, or that cannot be forwarded.
    #[schema(example = 1)]
    pub(crate) errored_services: usize,
    /// Forwards.
    #[schema(example = 4)]
    pub(crate) total_forwards: usize,
    /// Forwards that are active.
    #[schema(example = 3)]
    pub(crate) active_forwards: usize,
    /// Bytes from pods.
    #[schema(example = 1048576)]
    pub(crate) total_bytes_in: u64,
    /// Bytes to pods.
    #[schema(example = 524288)]
    pub(crate) total_bytes_out: u64,
    /// How long the daemon has been running.
    #[schema(example = "2h15m30s")]
    pub(crate) uptime: String,
}

/// The word of REST for how bad a finding is; `None` for what is as it should be.
pub(crate) fn severity(finding: &Finding) -> Option<&'static str> {
    match finding.severity {
        Severity::Ok => None,
        Severity::Note => Some("low"),
        Severity::Warning => Some("medium"),
        Severity::Error => Some("high"),
    }
}
