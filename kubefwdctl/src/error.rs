//! The errors of the command line: one type, its exit codes and how it is printed to standard error.

use std::fmt::Write as _;
use std::io;

use kubefwd_proto::{Failure, Reason};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::connect::Unreachable;
use crate::output::printable;

/// The exit codes, as `--help` lists them.
pub(crate) mod exit {
    /// Anything that has no code of its own.
    pub(crate) const FAILURE: u8 = 1;
    /// The command line or a value in it is wrong; clap uses the same.
    pub(crate) const USAGE: u8 = 2;
    /// The daemon or a forward is degraded, or `--wait` timed out.
    pub(crate) const DEGRADED: u8 = 3;
    /// The daemon or the cluster refuses the caller.
    pub(crate) const DENIED: u8 = 4;
    /// Nothing answers on the socket.
    pub(crate) const UNREACHABLE: u8 = 5;
    /// No such namespace, service, context or key.
    pub(crate) const NOT_FOUND: u8 = 6;
    /// Ended by SIGINT or SIGTERM.
    pub(crate) const INTERRUPTED: u8 = 130;
    /// The reader of standard output is gone: what a shell reports for a program killed by SIGPIPE.
    pub(crate) const BROKEN_PIPE: u8 = 141;
}

/// How many causes are listed; the rest is only counted.
const MAX_CAUSES: usize = 20;

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
        /// What was attempted.
        what: String,
        /// Why it did not work and what to do.
        #[source]
        failure: Failure,
    },
    /// The daemon does not know the call.
    #[error("{what}")]
    Older {
        /// What was attempted.
        what: String,
    },
    /// The connection ended in the middle of a call.
    #[error("{what}")]
    Lost {
        /// What was being done.
        what: String,
        /// What the transport reports.
        cause: String,
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
        /// What was attempted.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
}

impl CliError {
    /// Reads the daemon's answer to the attempt `what`.
    pub(crate) fn from_status(what: impl Into<String>, status: &Status) -> Self {
        let what = what.into();
        let ours = status
            .get_details_error_info()
            .is_some_and(|info| info.domain == kubefwd_proto::convert::failure::ERROR_DOMAIN);
        if ours {
            return Self::Refused {
                what,
                failure: kubefwd_proto::convert::failure::from_status(status),
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
                failure: kubefwd_proto::convert::failure::from_status(status),
            },
        }
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => exit::USAGE,
            Self::Unreachable(Unreachable::Denied { .. }) => exit::DENIED,
            Self::Unreachable(_) | Self::Lost { .. } => exit::UNREACHABLE,
            Self::Refused { failure, .. } => code_of(failure.reason),
            Self::NotActive { .. } | Self::Degraded => exit::DEGRADED,
            Self::Reported(code) => *code,
            Self::Interrupted => exit::INTERRUPTED,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::BROKEN_PIPE,
            Self::Output(_) | Self::Older { .. } | Self::System { .. } => exit::FAILURE,
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
                hint_of(failure.reason).to_owned()
            }
            Self::Refused { failure, .. } => failure.hint.clone(),
            Self::Older { .. } => "kubefwdctl version".to_owned(),
            Self::Lost { .. } => "kubefwdctl status".to_owned(),
            Self::Output(_) => "check that the file system is not full".to_owned(),
            Self::System { .. } => "check the limits of this session: ulimit -a".to_owned(),
            Self::Degraded | Self::Reported(_) | Self::Interrupted => String::new(),
        }
    }

    /// The whole message, with its final newline.
    pub(crate) fn render(&self, coloured: bool) -> String {
        let label = if coloured {
            "\x1b[1;31merror:\x1b[0m"
        } else {
            "error:"
        };
        let mut text = format!("{label} {}\n", printable(&self.to_string()));
        let causes = self.causes();
        let lines: Vec<&str> = causes
            .iter()
            .flat_map(|cause| cause.lines())
            .take(MAX_CAUSES)
            .collect();
        for (at, line) in lines.iter().enumerate() {
            let lead = if at == 0 { "  cause: " } else { "         " };
            push_line(&mut text, lead, line);
        }
        let left = causes
            .iter()
            .map(|cause| cause.lines().count())
            .sum::<usize>()
            - lines.len();
        if left > 0 {
            push_line(&mut text, "         ", &format!("and {left} more"));
        }
        for (at, line) in self.hint().lines().enumerate() {
            push_line(
                &mut text,
                if at == 0 { "  hint: " } else { "        " },
                line,
            );
        }
        text
    }
}

fn push_line(text: &mut String, lead: &str, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{lead}{}", printable(line));
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn code_of(reason: Reason) -> u8 {
    match reason {
        Reason::InvalidArgument => exit::USAGE,
        Reason::NotFound
        | Reason::ContextNotFound
        | Reason::NamespaceNotFound
        | Reason::ServiceNotFound
        | Reason::PodNotFound => exit::NOT_FOUND,
        Reason::PermissionDenied | Reason::Unauthenticated | Reason::ForbiddenByCluster => {
            exit::DENIED
        }
        Reason::AlreadyExists
        | Reason::Conflict
        | Reason::ClusterUnreachable
        | Reason::ClusterUntrusted
        | Reason::KubeconfigInvalid
        | Reason::CredentialsNeeded
        | Reason::WorkerUnavailable
        | Reason::LimitExceeded
        | Reason::Timeout
        | Reason::Unsupported
        | Reason::Internal
        | Reason::PortUnavailable
        | Reason::ConnectionRefused
        | Reason::ConnectionLost => exit::FAILURE,
    }
}

/// The next step if the daemon names none.
fn hint_of(reason: Reason) -> &'static str {
    match reason {
        Reason::InvalidArgument => "kubefwdctl help",
        Reason::NotFound | Reason::AlreadyExists | Reason::Conflict => "kubefwdctl svc ls",
        Reason::ContextNotFound => "kubefwdctl context ls",
        Reason::NamespaceNotFound => "kubectl get namespaces",
        Reason::ServiceNotFound => "kubectl get services",
        Reason::PermissionDenied | Reason::Unauthenticated => "kubefwdctl doctor",
        Reason::ClusterUnreachable | Reason::ClusterUntrusted => "kubectl cluster-info",
        Reason::KubeconfigInvalid => "kubectl config view",
        Reason::CredentialsNeeded => {
            "log in to the cluster as you do for kubectl, then run this command again"
        }
        Reason::ForbiddenByCluster => "kubectl auth can-i --list",
        Reason::WorkerUnavailable | Reason::Timeout => "kubefwdctl status",
        Reason::LimitExceeded => "kubefwdctl ns rm NAMESPACE",
        Reason::Unsupported => "kubefwdctl version",
        Reason::PortUnavailable => "kubefwdctl doctor",
        Reason::ConnectionRefused | Reason::ConnectionLost | Reason::PodNotFound => {
            "kubectl get pods"
        }
        Reason::Internal => crate::service::LOG_COMMAND,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: Reason, hint: &str) -> CliError {
        let failure = Failure::new(reason, "because").hint(hint);
        CliError::from_status("cannot do it", &failure.into_status())
    }

    #[test]
    fn every_reason_has_an_exit_code_and_a_next_step() {
        let table: String = (0..=Reason::Internal as i32)
            .filter_map(|n| Reason::try_from(n).ok())
            .map(|reason| {
                let error = refused(reason, "");
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
    fn a_call_that_is_unknown_means_an_older_daemon_but_an_unsupported_wish_does_not() {
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
