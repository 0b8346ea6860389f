//! The errors of the command line: one type, with its exit code, causes and hint.

pub(crate) mod exit;
mod hint;
mod render;

use std::io;

use kubefwd_model::Failure;
use kubefwd_proto::convert::Malformed;
use kubefwd_proto::convert::failure::{ERROR_DOMAIN, from_status};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use crate::connect::{Unreachable, Why};

/// Every way in which a command can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A value on the command line that clap cannot validate.
    #[error("{what}")]
    Usage {
        /// What is wrong with it.
        what: String,
        /// What is expected.
        hint: String,
    },
    /// The daemon cannot be reached at all.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The daemon answered with a failure.
    #[error("{what}")]
    Refused {
        what: String,
        /// Why it did not work and what to do.
        #[source]
        failure: Failure,
    },
    /// The daemon does not know the call.
    #[error("{what}")]
    Older { what: String },
    /// The connection ended in the middle of a call.
    #[error("{what}")]
    Lost {
        /// What was being done.
        what: String,
        /// What the transport reports.
        cause: String,
    },
    /// The daemon sent something that this program cannot read.
    #[error("{what}")]
    Malformed {
        what: String,
        /// What cannot be read.
        source: Malformed,
    },
    /// `--wait` timed out.
    #[error("{what}")]
    NotActive {
        /// How many are not active.
        what: String,
        /// Which, and why.
        causes: Vec<String>,
        /// What may help.
        hint: String,
    },
    /// Something is wrong, and the command has already printed what.
    #[error("degraded")]
    Degraded,
    /// Errors that were printed when they happened, while other work continued.
    #[error("already reported")]
    Reported(
        /// Exit code of the first of them.
        u8,
    ),
    /// SIGINT or SIGTERM, after the clean-up.
    #[error("interrupted")]
    Interrupted,
    /// Standard output cannot be written to.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    /// The operating system refused something that every command needs.
    #[error("{what}")]
    System {
        what: &'static str,
        source: io::Error,
    },
}

/// The daemon's answer to a call.
pub(crate) trait Answer<T> {
    /// What it answered to the attempt `what`.
    ///
    /// # Errors
    /// As [`CliError::from_status`] reads it.
    fn answered(self, what: impl Into<String>) -> Result<T, CliError>;
}

impl<T> Answer<T> for Result<Response<T>, Status> {
    fn answered(self, what: impl Into<String>) -> Result<T, CliError> {
        match self {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(CliError::from_status(what, &status)),
        }
    }
}

impl CliError {
    /// Reads the daemon's answer to the attempt `what`.
    pub(crate) fn from_status(what: impl Into<String>, status: &Status) -> Self {
        let what = what.into();
        let ours = status
            .get_details_error_info()
            .is_some_and(|info| info.domain == ERROR_DOMAIN);
        if ours {
            return Self::Refused {
                what,
                failure: from_status(status),
            };
        }
        // A status that the transport made up has an error below it; one from the other side has none.
        if let Some(source) = std::error::Error::source(status) {
            return Self::Lost {
                what,
                cause: innermost(source),
            };
        }
        match status.code() {
            Code::Unimplemented => Self::Older { what },
            Code::Unavailable => Self::Lost {
                what,
                cause: status.message().to_owned(),
            },
            _ => Self::Refused {
                what,
                failure: from_status(status),
            },
        }
    }

    /// The daemon ended a stream that has no end of its own.
    pub(crate) fn stream_ended(what: impl Into<String>) -> Self {
        Self::Lost {
            what: what.into(),
            cause: "the daemon closed it, probably because it is stopping".to_owned(),
        }
    }

    /// The daemon's answer to the attempt `what` cannot be read.
    pub(crate) fn malformed(what: impl Into<String>, source: Malformed) -> Self {
        Self::Malformed {
            what: what.into(),
            source,
        }
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => exit::USAGE,
            Self::Unreachable(Unreachable {
                why: Why::Denied, ..
            }) => exit::DENIED,
            Self::Unreachable(_) | Self::Lost { .. } => exit::UNREACHABLE,
            Self::Refused { failure, .. } => exit::code(failure.reason),
            Self::NotActive { .. } | Self::Degraded => exit::DEGRADED,
            Self::Reported(code) => *code,
            Self::Interrupted => exit::INTERRUPTED,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::BROKEN_PIPE,
            Self::Output(_) | Self::Older { .. } | Self::Malformed { .. } | Self::System { .. } => {
                exit::FAILURE
            }
        }
    }

    /// Whether there is nothing left to print: it was printed already, or nobody is reading.
    pub(crate) fn is_silent(&self) -> bool {
        match self {
            Self::Degraded | Self::Reported(_) | Self::Interrupted => true,
            Self::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }

    /// Why, one line each.
    pub(crate) fn causes(&self) -> Vec<String> {
        match self {
            Self::Unreachable(unreachable) => vec![unreachable.cause()],
            Self::Refused { failure, .. } => vec![failure.message.clone()],
            Self::Older { .. } => vec![
                "the daemon does not support this call: it is older than this kubefwdctl"
                    .to_owned(),
            ],
            Self::Lost { cause, .. } => {
                vec![format!("lost the connection to the daemon: {cause}")]
            }
            Self::Malformed { source, .. } => vec![source.to_string()],
            Self::NotActive { causes, .. } => causes.clone(),
            Self::Output(error) | Self::System { source: error, .. } => vec![error.to_string()],
            Self::Usage { .. } | Self::Degraded | Self::Reported(_) | Self::Interrupted => {
                Vec::new()
            }
        }
    }

    /// What to do next.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Usage { hint, .. } | Self::NotActive { hint, .. } => hint.clone(),
            Self::Unreachable(unreachable) => unreachable.hint(),
            Self::Refused { failure, .. } if failure.hint.is_empty() => {
                hint::of(failure.reason).to_owned()
            }
            Self::Refused { failure, .. } => failure.hint.clone(),
            Self::Older { .. } | Self::Malformed { .. } => "kubefwdctl version".to_owned(),
            Self::Lost { .. } => "kubefwdctl status".to_owned(),
            Self::Output(_) => "check that the file system is not full".to_owned(),
            Self::System { .. } => "check the limits of this session: ulimit -a".to_owned(),
            Self::Degraded | Self::Reported(_) | Self::Interrupted => String::new(),
        }
    }

    /// The whole message, with its final newline.
    pub(crate) fn render(&self, coloured: bool) -> String {
        render::message(&self.to_string(), &self.causes(), &self.hint(), coloured)
    }
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.last().unwrap_or(error).to_string()
}

#[cfg(test)]
mod tests {
    use kubefwd_model::Reason;
    use kubefwd_proto::convert::failure::to_status;

    use super::*;

    fn refused(reason: Reason, hint: &str) -> CliError {
        let failure = Failure::new(reason, "because").hint(hint);
        CliError::from_status("cannot do it", &to_status(failure))
    }

    #[test]
    fn every_reason_has_an_exit_code_and_a_next_step() {
        let table: String = Reason::ALL
            .iter()
            .map(|reason| {
                let error = refused(*reason, "");
                assert!(!error.hint().is_empty(), "{reason:?}");
                format!("{:?} {}\n", reason, error.exit_code())
            })
            .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn what_the_daemon_suggests_wins() {
        let error = refused(Reason::Conflict, "do that");
        assert_eq!(
            error.render(false),
            "error: cannot do it\n  cause: because\n  hint: do that\n"
        );
    }

    #[test]
    fn a_call_that_is_unknown_means_an_older_daemon_but_an_unsupported_request_does_not() {
        let unknown = CliError::from_status("cannot do it", &Status::unimplemented("no such path"));
        assert!(matches!(unknown, CliError::Older { .. }));
        assert!(matches!(
            refused(Reason::Unsupported, ""),
            CliError::Refused { .. }
        ));
    }

    #[test]
    fn an_answer_of_the_transport_is_a_lost_connection() {
        let broken = Status::from_error(Box::new(io::Error::from(io::ErrorKind::ConnectionReset)));
        let error = CliError::from_status("cannot do it", &broken);
        assert_eq!(error.exit_code(), exit::UNREACHABLE);
        insta::assert_snapshot!(error.render(false));
    }

    #[test]
    fn long_lists_of_causes_are_cut_and_counted_and_cannot_drive_the_terminal() {
        let error = CliError::NotActive {
            what: "23 services are not active".to_owned(),
            causes: (0..23)
                .map(|n| format!("svc{n}: \x1b]0;x\x07 no pod"))
                .collect(),
            hint: "kubefwdctl doctor".to_owned(),
        };
        insta::assert_snapshot!(error.render(false));
    }

    #[test]
    fn a_reader_that_left_is_no_error_to_talk_about() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(error.is_silent());
        assert_eq!(error.exit_code(), exit::BROKEN_PIPE);
    }
}
