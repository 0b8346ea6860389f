//! Findings of this side.

use kubefwd_model::{Finding, Severity};

use crate::error::CliError;

/// As it should be.
pub(super) fn ok(subject: &str, message: String) -> Finding {
    finding(Severity::Ok, subject, message, String::new())
}

/// One finding.
pub(super) fn finding(severity: Severity, subject: &str, message: String, hint: String) -> Finding {
    Finding {
        severity,
        subject: subject.to_owned(),
        message,
        hint,
        since: None,
    }
}

/// An error with its causes and hint.
pub(super) fn from_error(subject: &str, error: &CliError) -> Finding {
    let message = match error.causes().join("; ") {
        cause if cause.is_empty() => error.to_string(),
        cause => format!("{error}: {cause}"),
    };
    finding(Severity::Error, subject, message, error.hint())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_becomes_a_finding_with_its_cause_and_hint() {
        let status = tonic::Status::unimplemented("");
        let found = from_error("diagnosis", &CliError::from_status("no answer", &status));
        assert_eq!(found.severity, Severity::Error);
        assert!(
            found
                .message
                .starts_with("no answer: the daemon does not support this call")
        );
        assert_eq!(found.hint, "kubefwdctl version");
    }
}
