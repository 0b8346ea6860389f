//! Why the daemon cannot be reached, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use kubefwd_proto::control::DEFAULT_SOCKET;

use crate::service_manager::Manager;

/// Why the daemon cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreachable {
    /// Nothing is there.
    #[error("the kubefwd daemon is not running")]
    Missing {
        socket: PathBuf,
        /// It is not the default one.
        chosen: bool,
    },
    /// A socket without a listener.
    #[error("the kubefwd daemon is not running")]
    Stale { socket: PathBuf },
    /// The path is something else.
    #[error("cannot reach the kubefwd daemon")]
    NoSocket { socket: PathBuf },
    /// The file system denies access.
    #[error("cannot connect to the kubefwd daemon")]
    Denied { socket: PathBuf },
    /// Something else listens there.
    #[error("{} is not a kubefwd daemon socket", .socket.display())]
    NotADaemon {
        socket: PathBuf,
        /// What it answered.
        cause: String,
    },
    /// Accepts, but does not answer.
    #[error("the kubefwd daemon does not respond")]
    Unresponsive {
        socket: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// Anything else.
    #[error("cannot reach the kubefwd daemon")]
    Other {
        socket: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}

impl Unreachable {
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Missing { socket, .. } => format!("socket {} does not exist", socket.display()),
            Self::Stale { socket } => {
                format!("nothing is listening on {}", socket.display())
            }
            Self::NoSocket { socket } => format!("{} is not a socket", socket.display()),
            Self::Denied { socket } => format!("{}: permission denied", socket.display()),
            Self::NotADaemon { cause, .. } => cause.clone(),
            Self::Unresponsive { socket, seconds } => format!(
                "{} accepts connections but sent no response within {seconds} s",
                socket.display()
            ),
            Self::Other { socket, source } => format!("{}: {source}", socket.display()),
        }
    }

    /// What to do next.
    pub(crate) fn hint(&self) -> String {
        self.hint_under(Manager::of_this_machine())
    }

    fn hint_under(&self, manager: Manager) -> String {
        match self {
            Self::Missing { chosen: true, .. } | Self::NoSocket { .. } => format!(
                "omit --socket and KUBEFWD_SOCKET to use {DEFAULT_SOCKET}, or {}",
                lower_start(manager)
            ),
            Self::Missing { chosen: false, .. } | Self::Stale { .. } => {
                manager.start_command().to_owned()
            }
            Self::Denied { socket } => format!("ls -ld {}", parent(socket).display()),
            Self::NotADaemon { .. } => {
                format!("check --socket and KUBEFWD_SOCKET; the default is {DEFAULT_SOCKET}")
            }
            Self::Unresponsive { .. } => manager.restart_command().to_owned(),
            Self::Other { .. } => "kubefwdctl doctor".to_owned(),
        }
    }
}

fn lower_start(manager: Manager) -> String {
    format!("start the daemon: {}", manager.start_command())
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::CliError;

    #[test]
    fn every_way_of_not_reaching_the_daemon_says_what_to_do() {
        let socket = || PathBuf::from("/run/kubefwd/kubefwdd.sock");
        let ways = [
            Unreachable::Missing {
                socket: socket(),
                chosen: false,
            },
            Unreachable::Missing {
                socket: socket(),
                chosen: true,
            },
            Unreachable::Stale { socket: socket() },
            Unreachable::NoSocket { socket: socket() },
            Unreachable::Denied { socket: socket() },
            Unreachable::NotADaemon {
                socket: socket(),
                cause: "frame with invalid size".to_owned(),
            },
            Unreachable::Unresponsive {
                socket: socket(),
                seconds: 10,
            },
            Unreachable::Other {
                socket: socket(),
                source: io::Error::from(io::ErrorKind::OutOfMemory),
            },
        ];
        let mut text = String::new();
        for way in ways {
            for manager in [Manager::Systemd, Manager::Launchd, Manager::None] {
                text += &format!("{manager:?}: {}\n", way.hint_under(manager));
            }
            let error = CliError::from(way);
            // The hint of this machine depends on its service manager.
            let message = error.render(false);
            let (message, _) = message
                .split_once("  hint:")
                .expect("every error has a hint");
            text += &format!("exit {}\n{message}\n", error.exit_code());
        }
        insta::assert_snapshot!(text);
    }
}
