//! Finds the daemon's socket, connects, and explains why it cannot be reached.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use kubefwd_proto::control::v1::GetVersionRequest;
use kubefwd_proto::control::v1::control_client::ControlClient;
use kubefwd_proto::control::{API_LEVEL, DEFAULT_SOCKET};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::service::Manager;

/// A daemon that accepts but does not respond for this long is reported as hung.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A list of ten thousand services with their forwards takes about 10 MiB; the daemon is trusted.
const MAX_MESSAGE: usize = 256 << 20;
/// Lets a whole snapshot flow without waiting for window updates.
const WINDOW: u32 = 1 << 20;

/// Where to look for the daemon.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    /// Chosen by the user rather than by us.
    chosen: bool,
}

impl Socket {
    /// The given path (an option or `KUBEFWD_SOCKET`), else the default.
    pub(crate) fn new(chosen: Option<PathBuf>) -> Self {
        match chosen {
            Some(path) => Self { path, chosen: true },
            None => Self {
                path: PathBuf::from(DEFAULT_SOCKET),
                chosen: false,
            },
        }
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Connects and says hello: whatever answers `GetVersion` is a kubefwd daemon.
    ///
    /// # Errors
    /// [`Unreachable`] says which step failed.
    pub(crate) async fn connect(&self) -> Result<Daemon, Unreachable> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|error| self.diagnose(error))?;
        let greeting = tokio::time::timeout(HELLO_TIMEOUT, greet(stream)).await;
        match greeting {
            Ok(Ok(daemon)) => Ok(daemon),
            Ok(Err(cause)) => Err(Unreachable::Stranger {
                socket: self.path.clone(),
                cause,
            }),
            Err(_) => Err(Unreachable::Silent {
                socket: self.path.clone(),
                seconds: HELLO_TIMEOUT.as_secs(),
            }),
        }
    }

    fn diagnose(&self, error: io::Error) -> Unreachable {
        let socket = self.path.clone();
        match error.kind() {
            io::ErrorKind::NotFound => Unreachable::Missing {
                socket,
                chosen: self.chosen,
            },
            io::ErrorKind::PermissionDenied => Unreachable::Denied { socket },
            io::ErrorKind::ConnectionRefused if !is_socket(&self.path) => {
                Unreachable::NoSocket { socket }
            }
            io::ErrorKind::ConnectionRefused => Unreachable::Stale { socket },
            _ => Unreachable::Other {
                socket,
                source: error,
            },
        }
    }
}

fn is_socket(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.file_type().is_socket())
}

async fn greet(stream: UnixStream) -> Result<Daemon, String> {
    let mut stream = Some(stream);
    // One stream, used once: a broken connection is an error to report, not to hide by reconnecting.
    let connector = tower::service_fn(move |_: Uri| {
        let stream = stream.take();
        async move {
            stream
                .map(TokioIo::new)
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
        }
    });
    let channel = Endpoint::from_static("http://kubefwd.local")
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect_with_connector(connector)
        .await
        .map_err(|error| error.to_string())?;
    let mut control = ControlClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let version = control
        .get_version(GetVersionRequest {})
        .await
        .map_err(|status| match status.message() {
            "" => format!("{:?}", status.code()),
            message => message.to_owned(),
        })?
        .into_inner();
    Ok(Daemon {
        control,
        version: version.version,
        api_level: version.api_level,
    })
}

/// A connected daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    /// The calls.
    pub(crate) control: ControlClient<Channel>,
    /// Its semantic version.
    pub(crate) version: String,
    /// The level of the protocol that it speaks.
    pub(crate) api_level: u32,
}

impl Daemon {
    /// What to tell the user when the API levels of the two programs differ.
    pub(crate) fn skew(&self) -> Option<Skew> {
        Skew::between(self.api_level, API_LEVEL, &self.version)
    }
}

/// The daemon and this client speak different levels of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skew {
    /// What differs.
    pub(crate) message: String,
    /// How to fix it.
    pub(crate) hint: String,
}

impl Skew {
    fn between(daemon: u32, client: u32, daemon_version: &str) -> Option<Self> {
        let client_version = env!("CARGO_PKG_VERSION");
        match daemon.cmp(&client) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Less => Some(Self {
                message: format!(
                    "kubefwdd {daemon_version} (API level {daemon}) is older than kubefwdctl \
                     {client_version} (API level {client})"
                ),
                hint: Manager::of_this_machine().restart_command().to_owned(),
            }),
            std::cmp::Ordering::Greater => Some(Self {
                message: format!(
                    "kubefwdctl {client_version} (API level {client}) is older than kubefwdd \
                     {daemon_version} (API level {daemon})"
                ),
                hint: "use the kubefwdctl that was installed with the daemon: type -a kubefwdctl"
                    .to_owned(),
            }),
        }
    }
}

/// Why the daemon cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreachable {
    /// Nothing is there.
    #[error("the kubefwd daemon is not running")]
    Missing {
        /// The path that was tried.
        socket: PathBuf,
        /// It is not the default one.
        chosen: bool,
    },
    /// A socket without a listener.
    #[error("the kubefwd daemon is not running")]
    Stale {
        /// The path that was tried.
        socket: PathBuf,
    },
    /// The path is something else.
    #[error("cannot reach the kubefwd daemon")]
    NoSocket {
        /// The path that was tried.
        socket: PathBuf,
    },
    /// The file system denies access.
    #[error("cannot connect to the kubefwd daemon")]
    Denied {
        /// The path that was tried.
        socket: PathBuf,
    },
    /// Something else listens there.
    #[error("{} is not a kubefwd daemon socket", .socket.display())]
    Stranger {
        /// The path that was tried.
        socket: PathBuf,
        /// What it answered.
        cause: String,
    },
    /// Accepts, but does not answer.
    #[error("the kubefwd daemon does not respond")]
    Silent {
        /// The path that was tried.
        socket: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// Anything else.
    #[error("cannot reach the kubefwd daemon")]
    Other {
        /// The path that was tried.
        socket: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}

impl Unreachable {
    /// Why.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Missing { socket, .. } => format!("socket {} does not exist", socket.display()),
            Self::Stale { socket } => {
                format!("nothing is listening on {}", socket.display())
            }
            Self::NoSocket { socket } => format!("{} is not a socket", socket.display()),
            Self::Denied { socket } => format!("{}: permission denied", socket.display()),
            Self::Stranger { cause, .. } => cause.clone(),
            Self::Silent { socket, seconds } => format!(
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
            Self::Stranger { .. } => {
                format!("check --socket and KUBEFWD_SOCKET; the default is {DEFAULT_SOCKET}")
            }
            Self::Silent { .. } => manager.restart_command().to_owned(),
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
            Unreachable::Stranger {
                socket: socket(),
                cause: "frame with invalid size".to_owned(),
            },
            Unreachable::Silent {
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

    #[test]
    fn skew_names_the_older_side() {
        assert_eq!(Skew::between(3, 3, "1.0.0"), None);
        let older_daemon = Skew::between(2, 3, "0.9.0").expect("levels differ");
        assert!(
            older_daemon
                .message
                .starts_with("kubefwdd 0.9.0 (API level 2) is older")
        );
        let older_client = Skew::between(4, 3, "2.0.0").expect("levels differ");
        assert!(older_client.message.starts_with("kubefwdctl"));
    }
}
