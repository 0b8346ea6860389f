//! Every call of the control protocol.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use kubefwd_core::policy::{self, Actor, Verb};
use kubefwd_core::requests::Reconnect;
use kubefwd_core::state::{Lease, Which};
use kubefwd_model::{NamespaceKey, ServiceKey, Uid};
use kubefwd_proto::control::v1::{self as pb, control_server::Control as Calls};
use kubefwd_proto::convert::failure::to_status;
use tonic::{Request, Response, Status};

use super::{ControlServer, caller, decode, encode, streams};

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Reply<T> = Result<Response<T>, Status>;

// === impl ControlServer ===

impl ControlServer {
    async fn forward_namespace(
        &self,
        actor: &Actor,
        request: pb::AddNamespaceRequest,
        lease: Option<Lease>,
    ) -> Result<NamespaceKey, Status> {
        let request = decode::namespace_request(request, lease).map_err(to_status)?;
        let added = self.control.add_namespace(actor, request).await;
        added.map_err(to_status)
    }

    async fn forward_service(
        &self,
        actor: &Actor,
        request: pb::AddServiceRequest,
        lease: Option<Lease>,
    ) -> Result<ServiceKey, Status> {
        let request = decode::service_request(request, lease).map_err(to_status)?;
        let added = self.control.add_service(actor, request).await;
        added.map_err(to_status)
    }

    /// A stream that ends with the daemon.
    fn streamed<T>(
        &self,
        stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> Response<Streamed<T>> {
        let stop = self.stop.clone().cancelled_owned();
        Response::new(Box::pin(stream.take_until(stop)))
    }

    fn revision(&self) -> u64 {
        self.control.store.view().revision
    }
}

#[tonic::async_trait]
impl Calls for ControlServer {
    async fn get_version(
        &self,
        _: Request<pb::GetVersionRequest>,
    ) -> Reply<pb::GetVersionResponse> {
        let version = self.control.info.version.to_owned();
        let api_level = kubefwd_proto::control::API_LEVEL;
        Ok(Response::new(pb::GetVersionResponse { version, api_level }))
    }

    async fn get_health(&self, _: Request<pb::GetHealthRequest>) -> Reply<pb::GetHealthResponse> {
        let (health, message) = self.control.health();
        Ok(Response::new(pb::GetHealthResponse {
            health: pb::Health::from(health).into(),
            message,
        }))
    }

    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Reply<pb::GetStatusResponse> {
        let (actor, _) = caller(request)?;
        Ok(Response::new(encode::status(&self.control, &actor)))
    }

    async fn add_namespace(
        &self,
        request: Request<pb::AddNamespaceRequest>,
    ) -> Reply<pb::AddNamespaceResponse> {
        let (actor, request) = caller(request)?;
        let key = self.forward_namespace(&actor, request, None).await?;
        Ok(Response::new(pb::AddNamespaceResponse {
            key: key.to_string(),
            context: key.context.to_string(),
            revision: self.revision(),
        }))
    }

    async fn remove_namespace(
        &self,
        request: Request<pb::RemoveNamespaceRequest>,
    ) -> Reply<pb::RemoveNamespaceResponse> {
        let (actor, request) = caller(request)?;
        let (uid, which) = (request.uid.map(Uid::new), which(request.all, request.key));
        let removed = self.control.remove_namespaces(&actor, uid, which).await;
        let removed = removed.map_err(to_status)?;
        Ok(Response::new(pb::RemoveNamespaceResponse {
            removed: texts(&removed),
            revision: self.revision(),
        }))
    }

    async fn add_service(
        &self,
        request: Request<pb::AddServiceRequest>,
    ) -> Reply<pb::AddServiceResponse> {
        let (actor, request) = caller(request)?;
        let key = self.forward_service(&actor, request, None).await?;
        Ok(Response::new(pb::AddServiceResponse {
            key: key.to_string(),
            context: key.context.to_string(),
            revision: self.revision(),
        }))
    }

    async fn remove_service(
        &self,
        request: Request<pb::RemoveServiceRequest>,
    ) -> Reply<pb::RemoveServiceResponse> {
        let (actor, request) = caller(request)?;
        let (uid, which) = (request.uid.map(Uid::new), which(request.all, request.key));
        let removed = self.control.remove_services(&actor, uid, which).await;
        let removed = removed.map_err(to_status)?;
        Ok(Response::new(pb::RemoveServiceResponse {
            removed: texts(&removed),
            revision: self.revision(),
        }))
    }

    async fn set_capture(
        &self,
        request: Request<pb::SetCaptureRequest>,
    ) -> Reply<pb::SetCaptureResponse> {
        let (actor, pb::SetCaptureRequest { key, on, uid }) = caller(request)?;
        let uid = uid.map(Uid::new);
        let set = self.control.set_capture(&actor, uid, key, on).await;
        let service = set.map_err(to_status)?.to_string();
        Ok(Response::new(pb::SetCaptureResponse { service }))
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Reply<pb::ListResponse> {
        let (actor, request) = caller(request)?;
        let filter = decode::Filter::new(actor, request.filter);
        let listing = encode::listing(&self.control.store.view(), &filter);
        Ok(Response::new(listing))
    }

    type WatchStream = Streamed<pb::WatchResponse>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Reply<Self::WatchStream> {
        let (actor, request) = caller(request)?;
        let filter = decode::Filter::new(actor, request.filter);
        Ok(self.streamed(streams::watch(self.control.store.watch(), filter)))
    }

    type AttachStream = Streamed<pb::AttachResponse>;

    async fn attach(&self, request: Request<pb::AttachRequest>) -> Reply<Self::AttachStream> {
        let (actor, request) = caller(request)?;
        allowed(&actor, Verb::Change, actor.uid())?;
        let attachment = self.control.attach();
        let lease = Some(attachment.lease);
        let mut response = pb::AttachResponse::default();
        for request in request.namespaces {
            let key = self.forward_namespace(&actor, request, lease).await?;
            response.namespace_keys.push(key.to_string());
        }
        for request in request.services {
            let key = self.forward_service(&actor, request, lease).await?;
            response.service_keys.push(key.to_string());
        }
        Ok(self.streamed(streams::attach(response, attachment)))
    }

    async fn reconnect(
        &self,
        request: Request<pb::ReconnectRequest>,
    ) -> Reply<pb::ReconnectResponse> {
        let (actor, request) = caller(request)?;
        let which = match (request.failed_only, request.all) {
            (true, _) => Reconnect::Failed,
            (false, true) => Reconnect::All,
            (false, false) => Reconnect::Keys(request.keys),
        };
        let uid = request.uid.map(Uid::new);
        let triggered = self.control.reconnect(&actor, uid, which).await;
        let triggered = texts(&triggered.map_err(to_status)?);
        Ok(Response::new(pb::ReconnectResponse { triggered }))
    }

    async fn list_contexts(
        &self,
        request: Request<pb::ListContextsRequest>,
    ) -> Reply<pb::ListContextsResponse> {
        let (actor, request) = caller(request)?;
        let access = decode::access(request.access);
        let contexts = self.control.contexts(&actor, &access).await;
        let contexts = contexts.map_err(to_status)?;
        Ok(Response::new(encode::contexts(contexts)))
    }

    type EventsStream = Streamed<pb::EventsResponse>;

    async fn events(&self, request: Request<pb::EventsRequest>) -> Reply<Self::EventsStream> {
        let (actor, request) = caller(request)?;
        let stream = streams::events(self.control.telemetry.clone(), request, actor);
        Ok(self.streamed(stream))
    }

    async fn get_hosts(
        &self,
        request: Request<pb::GetHostsRequest>,
    ) -> Reply<pb::GetHostsResponse> {
        let (actor, _) = caller(request)?;
        Ok(Response::new(encode::hosts(&self.control, &actor)))
    }

    async fn add_reservation(
        &self,
        request: Request<pb::AddReservationRequest>,
    ) -> Reply<pb::AddReservationResponse> {
        let (actor, request) = caller(request)?;
        let reservation = request.reservation.unwrap_or_default();
        let address = decode::address(&reservation.address)
            .map_err(to_status)?
            .ok_or_else(|| Status::invalid_argument("a reservation needs an address"))?;
        let key = &reservation.key;
        let reserved = self.control.reserve(&actor, key, address).await;
        reserved.map_err(to_status)?;
        let revision = self.revision();
        Ok(Response::new(pb::AddReservationResponse { revision }))
    }

    async fn remove_reservation(
        &self,
        request: Request<pb::RemoveReservationRequest>,
    ) -> Reply<pb::RemoveReservationResponse> {
        let (actor, request) = caller(request)?;
        let released = self.control.unreserve(&actor, &request.target).await;
        released.map_err(to_status)?;
        let revision = self.revision();
        Ok(Response::new(pb::RemoveReservationResponse { revision }))
    }

    async fn list_reservations(
        &self,
        request: Request<pb::ListReservationsRequest>,
    ) -> Reply<pb::ListReservationsResponse> {
        let (actor, _) = caller(request)?;
        let reservations = self.control.reservations(&actor).map_err(to_status)?;
        let view = self.control.store.view();
        let reservations = reservations.into_iter();
        let reservations = reservations
            .map(|r| encode::reservation(r, &view))
            .collect();
        Ok(Response::new(pb::ListReservationsResponse { reservations }))
    }

    async fn allow_suffix(
        &self,
        request: Request<pb::AllowSuffixRequest>,
    ) -> Reply<pb::AllowSuffixResponse> {
        let (actor, request) = caller(request)?;
        let allowed = self.control.allow_suffix(&actor, &request.suffix).await;
        let warning = allowed.map_err(to_status)?;
        Ok(Response::new(pb::AllowSuffixResponse { warning }))
    }

    async fn deny_suffix(
        &self,
        request: Request<pb::DenySuffixRequest>,
    ) -> Reply<pb::DenySuffixResponse> {
        let (actor, request) = caller(request)?;
        let denied = self.control.deny_suffix(&actor, &request.suffix).await;
        denied.map_err(to_status)?;
        Ok(Response::new(pb::DenySuffixResponse {}))
    }

    async fn list_suffixes(
        &self,
        request: Request<pb::ListSuffixesRequest>,
    ) -> Reply<pb::ListSuffixesResponse> {
        let (actor, _) = caller(request)?;
        let allowed = self.control.allowed_suffixes(&actor).map_err(to_status)?;
        let suffixes = allowed.into_iter().map(|allowed| pb::AllowedSuffix {
            suffix: allowed.suffix.to_string(),
            configured: allowed.configured,
        });
        Ok(Response::new(pb::ListSuffixesResponse {
            suffixes: suffixes.collect(),
        }))
    }

    async fn diagnose(&self, request: Request<pb::DiagnoseRequest>) -> Reply<pb::DiagnoseResponse> {
        let (actor, _) = caller(request)?;
        let findings = self.control.diagnose(&actor).into_iter().map(Into::into);
        Ok(Response::new(pb::DiagnoseResponse {
            findings: findings.collect(),
        }))
    }
}

fn allowed(actor: &Actor, verb: Verb, owner: Option<Uid>) -> Result<(), Status> {
    policy::authorize(actor, verb, owner).map_err(to_status)
}

fn which(all: bool, key: String) -> Which {
    match all {
        true => Which::All,
        false => Which::Named(key),
    }
}

fn texts(keys: &[impl ToString]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}
