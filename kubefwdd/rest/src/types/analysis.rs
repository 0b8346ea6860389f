//! What is wrong and the calls that fix it, for programs.

use kubefwd_model::{Counts, Finding, Health, Severity, Time};
use serde::Serialize;
use utoipa::ToSchema;

/// The overall state in one sentence, for programs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    /// Health.
    pub(crate) status: Health,
    /// The same as a sentence.
    pub(crate) message: String,
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// How long the daemon has been running.
    pub(crate) uptime: String,
}

/// What is wrong, and the calls that fix it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Analysis {
    /// Health.
    pub(crate) status: Health,
    /// The same as a sentence.
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
    pub(crate) severity: &'static str,
    /// The kind of problem.
    pub(crate) component: String,
    /// The service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_key: Option<String>,
    /// What happened and why.
    pub(crate) message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Time>,
    /// A machine-readable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_type: Option<&'static str>,
}

/// A suggested action.
#[derive(Serialize, ToSchema)]
pub(crate) struct Recommendation {
    /// low, medium or high.
    pub(crate) priority: &'static str,
    /// What it concerns.
    pub(crate) category: String,
    /// What to do.
    pub(crate) message: String,
}

/// A call that fixes something.
#[derive(Serialize, ToSchema)]
pub(crate) struct SuggestedAction {
    /// What it does.
    pub(crate) action: &'static str,
    /// What it applies to.
    pub(crate) target: String,
    /// Why.
    pub(crate) reason: String,
    /// The path.
    pub(crate) endpoint: String,
    /// The method.
    pub(crate) method: &'static str,
}

/// Totals.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AnalysisStats {
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// Services in error.
    pub(crate) errored_services: usize,
    /// How long the daemon has been running.
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
