//! The sockets: where REST listens, and how callers over TCP are identified.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener as StdTcpListener};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;

use kubefwd_core::addresses::API_ADDRESS;
use kubefwd_core::names::API_NAME;
use kubefwd_core::status::RestStatus;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::control::Control;
use super::identity::{Identity, IdentityError};
use super::settings::Settings;
use super::{router, serve};

/// REST before it serves: its TCP socket is open, or cannot be opened.
pub struct Server {
    tcp: Option<StdTcpListener>,
    identity: watch::Receiver<Arc<Identity>>,
    status: RestStatus,
}

/// How callers over TCP are identified; can be changed while REST serves.
pub struct Identification(watch::Sender<Arc<Identity>>);

/// Why REST cannot be started at all.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// The address cannot be used.
    #[error("invalid configuration value rest.listen = {value:?}: {why}")]
    Listen {
        /// What the configuration says.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

// === impl Server ===

impl Server {
    /// Opens the TCP socket with `open`. A port that is taken is not an error: [`Server::status`] says who has it, and the
    /// unix socket still serves.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(
        settings: Settings<'_>,
        open: impl FnOnce(SocketAddr) -> Result<StdTcpListener, String>,
    ) -> Result<(Self, Identification), RestError> {
        let identity = Identity::parse(settings)?;
        let (tcp, status) = match address(settings.listen)?.map(open) {
            None => (None, RestStatus::Off),
            Some(Ok(tcp)) => {
                let local = tcp.local_addr().ok();
                let at = local.map_or_else(String::new, url);
                (Some(tcp), RestStatus::At(at))
            }
            Some(Err(why)) => (None, RestStatus::Failed(why)),
        };
        let identification = watch::Sender::new(Arc::new(identity));
        let identity = identification.subscribe();
        let server = Self {
            tcp,
            identity,
            status,
        };
        Ok((server, Identification(identification)))
    }

    /// Where it answers over TCP.
    pub fn status(&self) -> &RestStatus {
        &self.status
    }

    /// A copy of its TCP socket, and where that listens, to keep it beyond this process.
    pub fn tcp(&self) -> Option<(SocketAddrV4, StdTcpListener)> {
        let tcp = self.tcp.as_ref()?;
        match tcp.local_addr().ok()? {
            SocketAddr::V4(address) => Some((address, tcp.try_clone().ok()?)),
            SocketAddr::V6(_) => None,
        }
    }

    /// Whether it listens at the address that `kubefwd.internal` is the name of.
    pub fn has_api_address(&self) -> bool {
        let local = self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok());
        local.is_some_and(|local| local.ip() == API_ADDRESS)
    }

    /// Serves until `stop`; requests under way are finished, streams are ended.
    ///
    /// # Errors
    /// When a socket cannot be used.
    pub async fn serve(
        self,
        unix: StdUnixListener,
        control: Arc<dyn Control>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let router = router::router(control.clone(), self.identity, stop.clone());
        unix.set_nonblocking(true)?;
        let unix = UnixListener::from_std(unix)?;
        let unix = serve::serve(unix, router.clone(), control.clone(), stop.clone());
        match self.tcp {
            Some(tcp) => {
                tcp.set_nonblocking(true)?;
                let tcp = TcpListener::from_std(tcp)?;
                let tcp = serve::serve(tcp, router, control, stop);
                tokio::join!(tcp, unix);
            }
            None => unix.await,
        }
        Ok(())
    }
}

/// `address:port`, or `off` or nothing for no TCP. Only loopback addresses: the interface has no encryption.
pub(crate) fn address(value: &str) -> Result<Option<SocketAddr>, RestError> {
    let bad = |why: &str| RestError::Listen {
        value: value.to_owned(),
        why: why.to_owned(),
    };
    if value.is_empty() || value.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let address: SocketAddr = value
        .parse()
        .map_err(|_| bad("use a form such as 127.2.27.1:80, or off"))?;
    if !address.ip().is_loopback() {
        return Err(bad(
            "only loopback addresses are served; use a proxy with TLS for others",
        ));
    }
    Ok(Some(address))
}

pub(crate) fn url(local: SocketAddr) -> String {
    let host = match local.ip() == API_ADDRESS {
        true => API_NAME.to_owned(),
        false => local.ip().to_string(),
    };
    match local.port() {
        80 => format!("http://{host}/api"),
        port => format!("http://{host}:{port}/api"),
    }
}

// === impl Identification ===

impl Identification {
    /// Reads the configuration's identity and the file of tokens again.
    ///
    /// # Errors
    /// When they cannot be used; the old ones stay.
    pub fn change(&self, settings: Settings<'_>) -> Result<(), IdentityError> {
        let identity = Identity::parse(settings)?;
        self.0.send_replace(Arc::new(identity));
        Ok(())
    }
}
