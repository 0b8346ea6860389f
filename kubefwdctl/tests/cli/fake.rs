//! A daemon that follows a script, on a socket of its own, and records its requests.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kubefwd_proto::control::API_LEVEL;
use kubefwd_proto::control::v1::control_server::{Control, ControlServer};
use kubefwd_proto::control::v1::watch_response::Update;
use kubefwd_proto::control::v1::*;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;
type AnswerStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the daemon says.
#[derive(Clone, Default)]
pub(crate) struct Script {
    /// Level of the protocol; 0: the client's own.
    pub(crate) api_level: u32,
    /// What every call but `GetVersion` is answered, if anything.
    pub(crate) refusal: Option<Status>,
    /// What a namespace of this name is answered.
    pub(crate) refused_namespace: Option<(&'static str, Status)>,
    /// What is forwarded.
    pub(crate) list: ListResponse,
    /// What each watch gets after the snapshot.
    pub(crate) after_snapshot: Vec<WatchResponse>,
    /// Watches end after that.
    pub(crate) watch_ends: bool,
    /// What open watches get when something is added.
    pub(crate) on_add: Vec<WatchResponse>,
    /// What open watches get when a lease ends.
    pub(crate) on_detach: Vec<WatchResponse>,
    /// Leases end after they began.
    pub(crate) attach_ends: bool,
    pub(crate) status: GetStatusResponse,
    pub(crate) contexts: ListContextsResponse,
    pub(crate) events: Vec<EventsResponse>,
    pub(crate) hosts: GetHostsResponse,
    pub(crate) reservations: Vec<Reservation>,
    pub(crate) findings: Vec<Finding>,
}

/// What the daemon was asked.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) namespaces: Vec<AddNamespaceRequest>,
    pub(crate) services: Vec<AddServiceRequest>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) removed_namespaces: Vec<RemoveNamespaceRequest>,
    pub(crate) removed_services: Vec<RemoveServiceRequest>,
    pub(crate) reconnects: Vec<ReconnectRequest>,
    pub(crate) captures: Vec<SetCaptureRequest>,
    pub(crate) reservations: Vec<AddReservationRequest>,
    pub(crate) events: Vec<EventsRequest>,
    pub(crate) contexts: Vec<ListContextsRequest>,
    pub(crate) ended_leases: usize,
}

/// A running daemon; it ends with the test's runtime.
pub(crate) struct Fake {
    directory: TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    script: Script,
    asked: Mutex<Asked>,
    watchers: broadcast::Sender<WatchResponse>,
}

impl Fake {
    /// Listens at once.
    pub(crate) fn start(script: Script) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared {
            script,
            asked: Mutex::default(),
            watchers: broadcast::channel(64).0,
        });
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(ControlServer::new(Service(Arc::clone(&shared))))
            .serve_with_incoming(UnixListenerStream::new(listener));
        tokio::spawn(server);
        Self { directory, shared }
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> MutexGuard<'_, Asked> {
        self.shared.asked()
    }

    /// Sends to the watches that are open.
    pub(crate) fn send(&self, message: WatchResponse) {
        self.shared.watchers.send(message).unwrap();
    }
}

impl Shared {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<T>(&self, answer: T) -> Answer<T> {
        match &self.script.refusal {
            Some(status) => Err(status.clone()),
            None => Ok(Response::new(answer)),
        }
    }

    fn tell(&self, messages: &[WatchResponse]) {
        for message in messages {
            // Nobody has to listen.
            let _ = self.watchers.send(message.clone());
        }
    }
}

struct Service(Arc<Shared>);

#[tonic::async_trait]
impl Control for Service {
    type WatchStream = AnswerStream<WatchResponse>;
    type AttachStream = AnswerStream<AttachResponse>;
    type EventsStream = AnswerStream<EventsResponse>;

    async fn get_version(&self, _: Request<GetVersionRequest>) -> Answer<GetVersionResponse> {
        let api_level = match self.0.script.api_level {
            0 => API_LEVEL,
            level => level,
        };
        Ok(Response::new(GetVersionResponse {
            version: "9.8.7".to_owned(),
            api_level,
        }))
    }

    async fn get_health(&self, _: Request<GetHealthRequest>) -> Answer<GetHealthResponse> {
        self.0.answer(GetHealthResponse::default())
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Answer<GetStatusResponse> {
        self.0.answer(self.0.script.status.clone())
    }

    async fn add_namespace(
        &self,
        request: Request<AddNamespaceRequest>,
    ) -> Answer<AddNamespaceResponse> {
        let request = request.into_inner();
        if let Some((namespace, status)) = &self.0.script.refused_namespace
            && request.namespace == *namespace
        {
            return Err(status.clone());
        }
        let answer = AddNamespaceResponse {
            key: format!("{}.real", request.namespace),
            context: "real".to_owned(),
            revision: 2,
        };
        self.0.asked().namespaces.push(request);
        self.0.tell(&self.0.script.on_add);
        self.0.answer(answer)
    }

    async fn remove_namespace(
        &self,
        request: Request<RemoveNamespaceRequest>,
    ) -> Answer<RemoveNamespaceResponse> {
        let request = request.into_inner();
        let removed = vec![format!("{}.real", request.key)];
        self.0.asked().removed_namespaces.push(request);
        self.0.answer(RemoveNamespaceResponse {
            removed,
            revision: 3,
        })
    }

    async fn add_service(&self, request: Request<AddServiceRequest>) -> Answer<AddServiceResponse> {
        let request = request.into_inner();
        let answer = AddServiceResponse {
            key: format!("{}.{}.real", request.service, request.namespace),
            context: "real".to_owned(),
            revision: 2,
        };
        self.0.asked().services.push(request);
        self.0.tell(&self.0.script.on_add);
        self.0.answer(answer)
    }

    async fn remove_service(
        &self,
        request: Request<RemoveServiceRequest>,
    ) -> Answer<RemoveServiceResponse> {
        self.0.asked().removed_services.push(request.into_inner());
        self.0.answer(RemoveServiceResponse::default())
    }

    async fn list(&self, request: Request<ListRequest>) -> Answer<ListResponse> {
        let filter = request.into_inner().filter.unwrap_or_default();
        self.0.asked().filters.push(filter);
        self.0.answer(self.0.script.list.clone())
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        let filter = request.into_inner().filter.unwrap_or_default();
        self.0.asked().filters.push(filter);
        let watcher = self.0.watchers.subscribe();
        let live = futures_util::stream::unfold(watcher, async |mut watcher| {
            let update = watcher.recv().await.ok()?;
            Some((Ok(update), watcher))
        });
        let first = WatchResponse {
            revision: self.0.script.list.revision,
            update: Some(Update::Snapshot(self.0.script.list.clone())),
        };
        let scripted = std::iter::once(first).chain(self.0.script.after_snapshot.clone());
        let scripted = tokio_stream::iter(scripted).map(Ok);
        if self.0.script.watch_ends {
            return self.0.answer(Box::pin(scripted));
        }
        self.0.answer(Box::pin(scripted.chain(live)))
    }

    async fn attach(&self, request: Request<AttachRequest>) -> Answer<Self::AttachStream> {
        let request = request.into_inner();
        let namespaces = request.namespaces.iter();
        let first = AttachResponse {
            namespace_keys: namespaces
                .map(|ns| format!("{}.real", ns.namespace))
                .collect(),
            service_keys: Vec::new(),
        };
        self.0.asked().namespaces.extend(request.namespaces);
        self.0.asked().services.extend(request.services);
        let (tx, rx) = mpsc::channel(4);
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            shared.tell(&shared.script.on_add);
            if tx.send(Ok(first)).await.is_ok() && !shared.script.attach_ends {
                tx.closed().await;
            }
            shared.asked().ended_leases += 1;
            shared.tell(&shared.script.on_detach);
        });
        self.0.answer(Box::pin(ReceiverStream::new(rx)))
    }

    async fn reconnect(&self, request: Request<ReconnectRequest>) -> Answer<ReconnectResponse> {
        let request = request.into_inner();
        let triggered = request.keys.clone();
        self.0.asked().reconnects.push(request);
        self.0.answer(ReconnectResponse { triggered })
    }

    async fn set_capture(&self, request: Request<SetCaptureRequest>) -> Answer<SetCaptureResponse> {
        let request = request.into_inner();
        let service = request.key.clone();
        self.0.asked().captures.push(request);
        self.0.answer(SetCaptureResponse { service })
    }

    async fn list_contexts(
        &self,
        request: Request<ListContextsRequest>,
    ) -> Answer<ListContextsResponse> {
        self.0.asked().contexts.push(request.into_inner());
        self.0.answer(self.0.script.contexts.clone())
    }

    async fn events(&self, request: Request<EventsRequest>) -> Answer<Self::EventsStream> {
        self.0.asked().events.push(request.into_inner());
        let events = self.0.script.events.clone().into_iter().map(Ok);
        self.0.answer(Box::pin(tokio_stream::iter(events)))
    }

    async fn get_hosts(&self, _: Request<GetHostsRequest>) -> Answer<GetHostsResponse> {
        self.0.answer(self.0.script.hosts.clone())
    }

    async fn add_reservation(
        &self,
        request: Request<AddReservationRequest>,
    ) -> Answer<AddReservationResponse> {
        self.0.asked().reservations.push(request.into_inner());
        self.0.answer(AddReservationResponse { revision: 4 })
    }

    async fn remove_reservation(
        &self,
        _: Request<RemoveReservationRequest>,
    ) -> Answer<RemoveReservationResponse> {
        self.0.answer(RemoveReservationResponse { revision: 5 })
    }

    async fn list_reservations(
        &self,
        _: Request<ListReservationsRequest>,
    ) -> Answer<ListReservationsResponse> {
        self.0.answer(ListReservationsResponse {
            reservations: self.0.script.reservations.clone(),
        })
    }

    async fn allow_suffix(&self, _: Request<AllowSuffixRequest>) -> Answer<AllowSuffixResponse> {
        self.0.answer(AllowSuffixResponse::default())
    }

    async fn deny_suffix(&self, _: Request<DenySuffixRequest>) -> Answer<DenySuffixResponse> {
        self.0.answer(DenySuffixResponse {})
    }

    async fn list_suffixes(&self, _: Request<ListSuffixesRequest>) -> Answer<ListSuffixesResponse> {
        self.0.answer(ListSuffixesResponse::default())
    }

    async fn diagnose(&self, _: Request<DiagnoseRequest>) -> Answer<DiagnoseResponse> {
        self.0.answer(DiagnoseResponse {
            findings: self.0.script.findings.clone(),
        })
    }
}
