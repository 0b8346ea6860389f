//! Findings of `doctor`, and the daemon's health.

use kubefwd_model::{Finding, Health, Severity};

use super::{Malformed, timestamp, to_time, words};
use crate::control::v1 as pb;

words!(pb::Health, Health, Healthy, Degraded, Unhealthy);
words!(pb::Severity, Severity, Ok, Note, Warning, Error);

impl From<Finding> for pb::Finding {
    fn from(finding: Finding) -> Self {
        Self {
            severity: pb::Severity::from(finding.severity).into(),
            subject: finding.subject,
            message: finding.message,
            hint: finding.hint,
            since: finding.since.map(timestamp),
        }
    }
}

impl TryFrom<pb::Finding> for Finding {
    type Error = Malformed;

    fn try_from(finding: pb::Finding) -> Result<Self, Malformed> {
        Ok(Self {
            severity: finding.severity().try_into()?,
            since: to_time(&finding.since),
            subject: finding.subject,
            message: finding.message,
            hint: finding.hint,
        })
    }
}
