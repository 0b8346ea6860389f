//! REST: the face of the control layer for CI jobs, dashboards and browsers on this machine.
//!
//! The same router answers on `kubefwd.internal` (127.2.27.1:80) and on a unix socket. Before it stands the guard
//! (`guard`), which keeps other pages and other users out; behind it nothing but decoding, one call, and encoding. The
//! interface describes itself at `/openapi.yaml`, for people at `/docs`.

mod compat;
mod docs;
mod envelope;
mod extract;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guard;
mod identity;
mod keys;
mod list;
mod openapi;
mod prometheus;
mod rewrite;
mod routes;
mod select;
mod serve;
mod sse;
#[cfg(test)]
mod tests;
mod types;
mod wait;

use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener as StdTcpListener};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt;
use http::{Method, StatusCode, Uri};
use kubefwd_core::addresses::API_ADDRESS;
use kubefwd_core::names::API_NAME;
use kubefwd_core::policy::Actor;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::config;
use crate::control::{Control, RestStatus};
use crate::net::Listen;
use crate::sys;
use envelope::{ApiError, Code};
use identity::Identity;
use openapi::{Description, Documents};
use types::services::Summary;

pub use identity::IdentityError;

/// The largest body of a request, bytes.
const MAX_BODY: usize = 64 * 1024;
/// The longest that a request may take to be answered; what waits for longer than usual bounds itself below this.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// REST before it serves: its socket is open or known not to be had.
pub struct Server {
    tcp: Option<StdTcpListener>,
    identity: watch::Receiver<Arc<Identity>>,
    /// Held so that the status stays readable.
    _status: watch::Sender<RestStatus>,
}

/// How callers over TCP are identified, to be changed while REST serves.
pub struct Identification(watch::Sender<Arc<Identity>>);

/// Why REST cannot be started at all.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// The address is none.
    #[error("invalid configuration value rest.listen = {value:?}: {why}")]
    Listen {
        /// The value.
        value: String,
        /// Why.
        why: String,
    },
    /// The identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// What every handler has.
#[derive(Clone)]
struct Face {
    control: Control,
    identity: watch::Receiver<Arc<Identity>>,
    documents: Arc<OnceLock<Documents>>,
    stop: CancellationToken,
}

// === impl Server ===

impl Server {
    /// Opens the TCP socket that the configuration, or `listen` instead of it, asks for. A port that is taken is no error:
    /// the status says by whom, and the unix socket still serves.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(
        config: &config::Rest,
        listen: Option<&str>,
        ports: &mut Listen,
    ) -> Result<(Self, Identification, watch::Receiver<RestStatus>), RestError> {
        let identity = Identity::parse(&config.identity, config.token_file.as_deref())?;
        let address = address(listen.unwrap_or(&config.listen))?;
        let (tcp, status) = match address.map(|address| open(address, ports)) {
            None => (None, RestStatus::Off),
            Some(Ok(tcp)) => {
                let local = tcp.local_addr().ok();
                let at = local.map_or_else(String::new, url);
                (Some(tcp), RestStatus::At(at))
            }
            Some(Err(why)) => (None, RestStatus::Failed(why)),
        };
        let (sender, receiver) = watch::channel(status);
        let identification = watch::Sender::new(Arc::new(identity));
        Ok((
            Self {
                tcp,
                identity: identification.subscribe(),
                _status: sender,
            },
            Identification(identification),
            receiver,
        ))
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

    /// Serves until `stop`; requests that are under way are finished, streams are ended.
    ///
    /// # Errors
    /// When a socket cannot be used.
    pub async fn serve(
        self,
        unix: StdUnixListener,
        control: Control,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let router = router(control, self.identity, stop.clone());
        unix.set_nonblocking(true)?;
        let unix = serve::serve(UnixListener::from_std(unix)?, router.clone(), stop.clone());
        match self.tcp {
            Some(tcp) => {
                tcp.set_nonblocking(true)?;
                let tcp = serve::serve(TcpListener::from_std(tcp)?, router, stop);
                tokio::join!(tcp, unix);
            }
            None => unix.await,
        }
        Ok(())
    }
}

/// `address:port`, or `off` or nothing for no TCP. Only loopback addresses: the interface has no encryption.
fn address(value: &str) -> Result<Option<SocketAddr>, RestError> {
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

fn open(address: SocketAddr, ports: &mut Listen) -> Result<StdTcpListener, String> {
    match address {
        SocketAddr::V4(v4) => ports
            .tcp(*v4.ip(), v4.port())
            .map_err(|error| error.to_string()),
        SocketAddr::V6(_) => StdTcpListener::bind(address)
            .map_err(|error| format!("cannot listen on {address}: {error}")),
    }
}

fn url(local: SocketAddr) -> String {
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
    /// Reads the configuration's identity, and the file of tokens, anew.
    ///
    /// # Errors
    /// When they cannot be used; the old ones stay then.
    pub fn change(&self, config: &config::Rest) -> Result<(), IdentityError> {
        let identity = Identity::parse(&config.identity, config.token_file.as_deref())?;
        self.0.send_replace(Arc::new(identity));
        Ok(())
    }
}

// === impl Face ===

impl Face {
    /// The sums over everything that an actor sees.
    fn sums(&self, actor: &Actor) -> Summary {
        let view = self.control.view();
        let meters = self.control.telemetry().meters.read(SystemTime::now());
        let mut sums = Summary::default();
        for service in keys::visible(&view, actor) {
            sums.add(service, &meters);
        }
        sums
    }

    /// The description of the interface, made for whoever asks first.
    fn documents(&self) -> &Documents {
        self.documents.get_or_init(|| {
            let documents = Documents::new(routes().1);
            sys::release_freed_memory();
            documents
        })
    }
}

/// The routes that are described, and their description.
fn routes() -> (Router<Face>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(routes::api())
        .split_for_parts()
}

/// Everything: routes, guard, and what holds for every answer.
fn router(
    control: Control,
    identity: watch::Receiver<Arc<Identity>>,
    stop: CancellationToken,
) -> Router {
    let (api, description) = routes();
    // It takes more memory than anything that follows; whoever asks for it has it made again.
    drop(description);
    sys::release_freed_memory();
    let face = Face {
        control,
        identity,
        documents: Arc::default(),
        stop,
    };
    guarded(api, face)
}

fn guarded(api: Router<Face>, face: Face) -> Router {
    let routed = api
        .route("/", get(docs::root))
        .route("/docs", get(docs::page))
        .route("/docs/", get(docs::page))
        .route("/docs/docs.js", get(docs::script))
        .route("/docs/docs.css", get(docs::style))
        .route("/docs/icon.svg", get(docs::icon))
        .route("/openapi.json", get(docs::json))
        .route("/openapi.yaml", get(docs::yaml))
        .route("/metrics", get(prometheus::metrics))
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_route)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(face.clone());
    // Around the router as a whole: the path has to be put right before it is routed.
    Router::new()
        .fallback_service(routed)
        .layer(middleware::from_fn_with_state(face, guard::guard))
        .layer(middleware::map_request(async |request: Request| {
            rewrite::slashes_in_keys(request)
        }))
        .layer(middleware::from_fn(bounded))
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!(
        "{} does not support {method}; see the Allow header",
        uri.path()
    );
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, Code::BadRequest, message)
}

async fn no_route(uri: Uri) -> ApiError {
    ApiError::not_found(format!("there is nothing at {}", uri.path())).hint("see /docs")
}

/// No request takes for ever, and a defect in one is an answer and not the end of the connection.
async fn bounded(request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(LONGEST, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            ApiError::defect(text.unwrap_or("a panic without a message")).into_response()
        }
        Err(_) => ApiError::unavailable("the request took too long").into_response(),
    }
}
