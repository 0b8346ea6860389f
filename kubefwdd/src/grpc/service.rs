//! Every call of the control protocol.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use kubefwd_core::policy::{self, Actor, Verb};
use kubefwd_core::state::{Lease, RemoveNamespaces, RemoveServices};
use kubefwd_model::{NamespaceKey, ServiceKey, Uid};
use kubefwd_proto::control::v1::{self as pb, control_server::Control as Calls};
use kubefwd_proto::convert::failure::to_status;
use tonic::{Request, Response, Status};

use super::{ControlServer, actor, decode, encode, streams};
use crate::control::Reconnect;

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Reply<T> = Result<Response<T>, Status>;

// === impl ControlServer ===

impl ControlServer {
    /// Who asks, if they may look at what is theirs.
    async fn observer<T: Sync>(&self, request: &Request<T>) -> Result<Actor, Status> {
        let actor = actor(request).await?;
        allowed(&actor, Verb::Observe, None)?;
        Ok(actor)
    }

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
        let actor = self.observer(&request).await?;
        Ok(Response::new(encode::status(&self.control, &actor)))
    }

    async fn add_namespace(
        &self,
        request: Request<pb::AddNamespaceRequest>,
    ) -> Reply<pb::AddNamespaceResponse> {
        let actor = actor(&request).await?;
        let request = request.into_inner();
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
        let actor = actor(&request).await?;
        let pb::RemoveNamespaceRequest { key, uid, all } = request.into_inner();
        let which = match all {
            true => RemoveNamespaces::All,
            false => RemoveNamespaces::Named(key),
        };
        let uid = uid.map(Uid::new);
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
        let actor = actor(&request).await?;
        let request = request.into_inner();
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
        let actor = actor(&request).await?;
        let pb::RemoveServiceRequest { key, uid, all } = request.into_inner();
        let which = match all {
            true => RemoveServices::All,
            false => RemoveServices::Named(key),
        };
        let uid = uid.map(Uid::new);
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
        let actor = actor(&request).await?;
        let pb::SetCaptureRequest { key, on, uid } = request.into_inner();
        let uid = uid.map(Uid::new);
        let set = self.control.set_capture(&actor, uid, key, on).await;
        let service = set.map_err(to_status)?.to_string();
        Ok(Response::new(pb::SetCaptureResponse { service }))
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Reply<pb::ListResponse> {
        let actor = self.observer(&request).await?;
        let filter = decode::Filter::new(actor, request.into_inner().filter);
        let listing = encode::listing(&self.control.store.view(), &filter);
        Ok(Response::new(listing))
    }

    type WatchStream = Streamed<pb::WatchResponse>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Reply<Self::WatchStream> {
        let actor = self.observer(&request).await?;
        let filter = decode::Filter::new(actor, request.into_inner().filter);
        Ok(self.streamed(streams::watch(self.control.store.watch(), filter)))
    }

    type AttachStream = Streamed<pb::AttachResponse>;

    async fn attach(&self, request: Request<pb::AttachRequest>) -> Reply<Self::AttachStream> {
        let actor = actor(&request).await?;
        allowed(&actor, Verb::Change, actor.uid())?;
        let attachment = self.control.attach();
        let lease = Some(attachment.lease);
        let pb::AttachRequest {
            namespaces,
            services,
        } = request.into_inner();
        let mut response = pb::AttachResponse::default();
        for request in namespaces {
            let key = self.forward_namespace(&actor, request, lease).await?;
            response.namespace_keys.push(key.to_string());
        }
        for request in services {
            let key = self.forward_service(&actor, request, lease).await?;
            response.service_keys.push(key.to_string());
        }
        Ok(self.streamed(streams::attach(response, attachment)))
    }

    async fn reconnect(
        &self,
        request: Request<pb::ReconnectRequest>,
    ) -> Reply<pb::ReconnectResponse> {
        let actor = actor(&request).await?;
        let pb::ReconnectRequest {
            keys,
            all,
            failed_only,
            uid,
        } = request.into_inner();
        let which = match (failed_only, all) {
            (true, _) => Reconnect::Failed,
            (false, true) => Reconnect::All,
            (false, false) => Reconnect::Keys(keys),
        };
        let uid = uid.map(Uid::new);
        let triggered = self.control.reconnect(&actor, uid, which).await;
        let triggered = texts(&triggered.map_err(to_status)?);
        Ok(Response::new(pb::ReconnectResponse { triggered }))
    }

    async fn list_contexts(
        &self,
        request: Request<pb::ListContextsRequest>,
    ) -> Reply<pb::ListContextsResponse> {
        let actor = actor(&request).await?;
        let access = decode::access(request.into_inner().access);
        let contexts = self.control.contexts(&actor, &access).await;
        let contexts = contexts.map_err(to_status)?;
        Ok(Response::new(encode::contexts(contexts)))
    }

    type EventsStream = Streamed<pb::EventsResponse>;

    async fn events(&self, request: Request<pb::EventsRequest>) -> Reply<Self::EventsStream> {
        let actor = self.observer(&request).await?;
        let telemetry = self.control.telemetry.clone();
        let stream = streams::events(telemetry, request.into_inner(), actor);
        Ok(self.streamed(stream))
    }

    async fn get_hosts(
        &self,
        request: Request<pb::GetHostsRequest>,
    ) -> Reply<pb::GetHostsResponse> {
        let actor = self.observer(&request).await?;
        Ok(Response::new(encode::hosts(&self.control, &actor)))
    }

    async fn add_reservation(
        &self,
        request: Request<pb::AddReservationRequest>,
    ) -> Reply<pb::AddReservationResponse> {
        let actor = actor(&request).await?;
        let reservation = request.into_inner().reservation.unwrap_or_default();
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
        let actor = actor(&request).await?;
        let target = request.into_inner().target;
        let released = self.control.unreserve(&actor, &target).await;
        released.map_err(to_status)?;
        let revision = self.revision();
        Ok(Response::new(pb::RemoveReservationResponse { revision }))
    }

    async fn list_reservations(
        &self,
        request: Request<pb::ListReservationsRequest>,
    ) -> Reply<pb::ListReservationsResponse> {
        let actor = actor(&request).await?;
        let reservations = self.control.reservations(&actor).map_err(to_status)?;
        let view = self.control.store.view();
        let reservations = reservations.into_iter();
        let reservations = reservations
            .map(|r| encode::reservation(r, &view))
            .collect();
        Ok(Response::new(pb::ListReservationsResponse { reservations }))
    }

    async fn diagnose(&self, request: Request<pb::DiagnoseRequest>) -> Reply<pb::DiagnoseResponse> {
        let actor = self.observer(&request).await?;
        let findings = self.control.diagnose(&actor).into_iter().map(Into::into);
        Ok(Response::new(pb::DiagnoseResponse {
            findings: findings.collect(),
        }))
    }
}

fn allowed(actor: &Actor, verb: Verb, owner: Option<Uid>) -> Result<(), Status> {
    policy::authorize(actor, verb, owner).map_err(|denied| to_status(denied.into()))
}

fn texts(keys: &[impl ToString]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}
