//! Finds the daemon's socket and connects.

mod skew;
mod unreachable;

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use kubefwd_model::Finding;
use kubefwd_proto::control::v1::GetVersionRequest;
use kubefwd_proto::control::v1::control_client::ControlClient;
use kubefwd_proto::control::{API_LEVEL, DEFAULT_SOCKET};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

pub(crate) use unreachable::{Unreachable, Why};

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
        Self {
            chosen: chosen.is_some(),
            path: chosen.unwrap_or_else(|| DEFAULT_SOCKET.into()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Connects and says hello: whatever answers `GetVersion` is a kubefwd daemon.
    ///
    /// # Errors
    /// [`Unreachable`] says which step failed.
    pub(crate) async fn connect(&self) -> Result<Daemon, Unreachable> {
        let unreachable = |why| Unreachable {
            socket: self.path.clone(),
            why,
        };
        let stream = UnixStream::connect(&self.path).await;
        let stream = stream.map_err(|error| unreachable(self.diagnose(error)))?;
        let hello = tokio::time::timeout(HELLO_TIMEOUT, say_hello(stream)).await;
        let hello = hello.map_err(|_| unreachable(Why::Unresponsive(HELLO_TIMEOUT.as_secs())))?;
        hello.map_err(|cause| unreachable(Why::NotADaemon(cause)))
    }

    fn diagnose(&self, error: io::Error) -> Why {
        let chosen = self.chosen;
        match error.kind() {
            io::ErrorKind::NotFound => Why::Missing { chosen },
            io::ErrorKind::PermissionDenied => Why::Denied,
            io::ErrorKind::ConnectionRefused if !is_socket(&self.path) => Why::NoSocket,
            io::ErrorKind::ConnectionRefused => Why::Stale,
            _ => Why::Other(error),
        }
    }
}

fn is_socket(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.file_type().is_socket())
}

async fn say_hello(stream: UnixStream) -> Result<Daemon, String> {
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
    pub(crate) control: ControlClient<Channel>,
    pub(crate) version: String,
    /// The level of the protocol that it speaks.
    pub(crate) api_level: u32,
}

impl Daemon {
    /// What to tell the user when the API levels of the two programs differ.
    pub(crate) fn skew(&self) -> Option<Finding> {
        skew::between(self.api_level, API_LEVEL, &self.version)
    }
}
