//! gRPC: the thin face of the control layer for kubefwdctl and other local programs. Decode, call, encode.

mod decode;
mod encode;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gate;
mod incoming;
mod service;
mod streams;

use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use kubefwd_core::policy::Actor;
use kubefwd_proto::control::v1::control_server;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::Status;
use tonic::transport::Server;

use crate::control::Control;

/// The largest request, bytes: an environment is the largest part of one.
const MAX_REQUEST: usize = 1024 * 1024;
/// Calls of one connection at a time, each of which may hold the largest request.
const CALLS: usize = 16;
const KEEPALIVE: Duration = Duration::from_secs(20);

/// The service; one for all connections.
#[derive(Clone)]
pub(crate) struct ControlServer {
    control: Arc<Control>,
    stop: CancellationToken,
}

/// Serves until `stop`; calls that are under way are ended with it.
///
/// # Errors
/// When the socket cannot be used.
pub(crate) async fn serve(
    socket: StdUnixListener,
    control: Arc<Control>,
    stop: CancellationToken,
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let incoming = Box::pin(incoming::incoming(UnixListener::from_std(socket)?));
    let server = ControlServer {
        control,
        stop: stop.clone(),
    };
    let service = control_server::ControlServer::new(server).max_decoding_message_size(MAX_REQUEST);
    Server::builder()
        .layer(gate::GateLayer)
        .concurrency_limit_per_connection(CALLS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await
        .map_err(io::Error::other)
}

/// Who asks, and what.
fn caller<T>(request: Request<T>) -> Result<(Actor, T), Status> {
    let actor = request.extensions().get::<Actor>().cloned();
    let actor = actor.ok_or_else(|| Status::internal("the call did not pass the gate"))?;
    Ok((actor, request.into_inner()))
}
