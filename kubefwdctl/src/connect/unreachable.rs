//! Why the daemon cannot be reached, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use kubefwd_proto::control::DEFAULT_SOCKET;

use crate::service_manager::Manager;

/// The daemon cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.what())]
pub(crate) struct Unreachable {
    pub(crate) socket: PathBuf,
    pub(crate) why: Why,
}

/// Why the daemon cannot be reached.
#[derive(Debug)]
pub(crate) enum Why {
    /// Nothing is there.
    Missing {
        /// It is not the default one.
        chosen: bool,
    },
    /// A socket without a listener.
    Stale,
    /// The path is something else.
    NoSocket,
    /// The file system denies access.
    Denied,
    /// Something else listens there, and answered this.
    NotADaemon(String),
    /// Accepts, but did not answer for this many seconds.
    Unresponsive(u64),
    /// Anything else.
    Other(io::Error),
}

impl Unreachable {
    fn what(&self) -> String {
        let what = match &self.why {
            Why::Missing { .. } | Why::Stale => "the kubefwd daemon is not running",
            Why::NoSocket | Why::Other(_) => "cannot reach the kubefwd daemon",
            Why::Denied => "cannot connect to the kubefwd daemon",
            Why::Unresponsive(_) => "the kubefwd daemon does not respond",
            Why::NotADaemon(_) => {
                return format!("{} is not a kubefwd daemon socket", self.socket.display());
            }
        };
        what.to_owned()
    }

    pub(crate) fn cause(&self) -> String {
        let socket = self.socket.display();
        match &self.why {
            Why::Missing { .. } => format!("socket {socket} does not exist"),
            Why::Stale => format!("nothing is listening on {socket}"),
            Why::NoSocket => format!("{socket} is not a socket"),
            Why::Denied => format!("{socket}: permission denied"),
            Why::NotADaemon(cause) => cause.clone(),
            Why::Unresponsive(seconds) => {
                format!("{socket} accepts connections but sent no response within {seconds} s")
            }
            Why::Other(source) => format!("{socket}: {source}"),
        }
    }

    /// What to do next.
    pub(crate) fn hint(&self) -> String {
        self.hint_under(Manager::of_this_machine())
    }

    fn hint_under(&self, manager: Manager) -> String {
        match &self.why {
            Why::Missing { chosen: true } | Why::NoSocket => format!(
                "omit --socket and KUBEFWD_SOCKET to use {DEFAULT_SOCKET}, or start the daemon: {}",
                manager.start_command()
            ),
            Why::Missing { chosen: false } | Why::Stale => manager.start_command().to_owned(),
            Why::Denied => {
                let directory = self.socket.parent().unwrap_or(Path::new("/"));
                format!("ls -ld {}", directory.display())
            }
            Why::NotADaemon(_) => {
                format!("check --socket and KUBEFWD_SOCKET; the default is {DEFAULT_SOCKET}")
            }
            Why::Unresponsive(_) => manager.restart_command().to_owned(),
            Why::Other(_) => "kubefwdctl doctor".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::CliError;

    #[test]
    fn every_way_of_not_reaching_the_daemon_says_what_to_do() {
        let ways = [
            Why::Missing { chosen: false },
            Why::Missing { chosen: true },
            Why::Stale,
            Why::NoSocket,
            Why::Denied,
            Why::NotADaemon("frame with invalid size".to_owned()),
            Why::Unresponsive(10),
            Why::Other(io::Error::from(io::ErrorKind::OutOfMemory)),
        ];
        let mut text = String::new();
        for why in ways {
            let socket = PathBuf::from("/run/kubefwd/kubefwdd.sock");
            let way = Unreachable { socket, why };
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
