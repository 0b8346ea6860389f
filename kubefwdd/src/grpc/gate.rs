//! The gate before every call: decides by the caller alone, from the head of the request. The body of somebody who may not
//! ask is never read, so nobody can make the daemon hold it.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kubefwd_core::policy::{self, Verb, Via};
use kubefwd_model::failure;
use kubefwd_proto::convert::failure::to_status;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Extensions, Request, Response};
use tonic::transport::server::UdsConnectInfo;
use tower::Layer;

use crate::peer;

/// What everybody may ask.
const PUBLIC: [&str; 2] = [
    "/kubefwd.control.v1.Control/GetVersion",
    "/kubefwd.control.v1.Control/GetHealth",
];

/// Puts the gate before a service.
#[derive(Clone)]
pub(super) struct GateLayer;

/// A service behind the gate.
#[derive(Clone)]
pub(super) struct Gate<S> {
    service: S,
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, service: S) -> Gate<S> {
        Gate { service }
    }
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The one that was asked whether it is ready is the one that is called.
        let next = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, next);
        async move {
            let is_public = PUBLIC.contains(&request.uri().path());
            match admit(request.extensions_mut(), is_public).await {
                Ok(()) => service.call(request).await,
                Err(refusal) => Ok(refusal.into_http()),
            }
        }
        .boxed()
    }
}

/// Looks the caller up, for the call behind the gate too.
async fn admit(extensions: &mut Extensions, is_public: bool) -> Result<(), Status> {
    let info = extensions.get::<UdsConnectInfo>();
    let Some(credentials) = info.and_then(|info| info.peer_cred) else {
        let nobody = failure!(Unauthenticated, "the kernel does not say who is calling");
        return Err(to_status(nobody));
    };
    if !is_public {
        let actor = peer::actor(credentials.uid().into(), Via::UnixSocket).await;
        policy::authorize(&actor, Verb::Observe, None).map_err(to_status)?;
        extensions.insert(actor);
    }
    Ok(())
}
