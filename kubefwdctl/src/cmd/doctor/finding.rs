//! Findings of this side.

use kubefwd_model::{Finding, Severity};

use crate::error::CliError;

/// As it should be.
pub(super) fn ok(subject: &str, message: impl Into<String>) -> Finding {
    Finding::new(Severity::Ok, subject, message)
}

/// An error with its causes and hint.
pub(super) fn from_error(subject: &str, error: &CliError) -> Finding {
    let message = match error.causes().join("; ") {
        cause if cause.is_empty() => error.to_string(),
        cause => format!("{error}: {cause}"),
    };
    Finding::new(Severity::Error, subject, message).hint(error.hint())
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
