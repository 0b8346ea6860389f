//! Failures of single steps, where one does not stop the others.

use tonic::Status;

use crate::error::CliError;
use crate::output::Output;

/// Prints each failure when it happens; the first decides the exit code.
pub(super) struct Failures {
    out: Output,
    first: Option<u8>,
}

impl Failures {
    /// Nothing has failed yet.
    pub(super) fn new(out: Output) -> Self {
        Self { out, first: None }
    }

    /// Whether nothing has failed yet.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The daemon's answer to the attempt `what`; `None` if it is a refusal.
    ///
    /// # Errors
    /// [`CliError::Lost`]: nothing else can succeed.
    pub(super) fn check<T>(
        &mut self,
        answer: Result<T, Status>,
        what: impl Into<String>,
    ) -> Result<Option<T>, CliError> {
        let status = match answer {
            Ok(answer) => return Ok(Some(answer)),
            Err(status) => status,
        };
        let error = CliError::from_status(what, &status);
        if matches!(error, CliError::Lost { .. }) {
            return Err(error);
        }
        self.out.error(&error);
        self.first.get_or_insert(error.exit_code());
        Ok(None)
    }

    /// The end of the command, whose last step is `result`.
    ///
    /// # Errors
    /// [`CliError::Reported`] if a step had failed before, else the last one's error.
    pub(super) fn end(self, result: Result<(), CliError>) -> Result<(), CliError> {
        let Some(code) = self.first else {
            return result;
        };
        if let Err(error) = result {
            self.out.error(&error);
        }
        Err(CliError::Reported(code))
    }
}
