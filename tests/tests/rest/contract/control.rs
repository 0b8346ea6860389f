//! Every call of the control protocol.

use std::fmt::Debug;

use hyper_util::rt::TokioIo;
use kubefwd_proto::common::v1::{PortMapping, Selection};
use kubefwd_proto::control::v1::control_client::ControlClient;
use kubefwd_proto::control::v1::*;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Response, Status, Streaming};
use tonic_types::StatusExt as _;

use super::recording::Recording;
use super::scene::Scene;

/// A connected client, with the kubeconfig that it names.
pub(crate) struct Control {
    client: ControlClient<Channel>,
    access: Access,
}

pub(crate) async fn connect(scene: &Scene) -> Control {
    let socket = scene.system.socket();
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://kubefwd.local");
    let channel = endpoint.connect_with_connector(connector).await.unwrap();
    Control {
        client: ControlClient::new(channel),
        access: Access {
            kubeconfig: vec![scene.kubeconfig.display().to_string()],
            ..Access::default()
        },
    }
}

/// Calls methods with their requests, and records the answers or the refusals in one file.
macro_rules! calls {
    ($control:ident, $recording:ident, $file:literal, $($method:ident: $request:expr;)+) => {
        $({
            let request = $request;
            let title = format!("{} {request:?}", stringify!($method));
            let answer = $control.client.$method(request).await;
            $recording.section($file, &title, &shown(answer));
        })+
    };
}

pub(crate) async fn read(control: &mut Control, recording: &mut Recording) {
    let access = Some(control.access.clone());
    let filter = Some(Filter {
        namespace: "other".to_owned(),
        all_users: true,
        ..Filter::default()
    });
    calls! { control, recording, "grpc-daemon.txt",
        get_version: GetVersionRequest {};
        get_health: GetHealthRequest {};
        get_status: GetStatusRequest {};
        get_hosts: GetHostsRequest {};
        diagnose: DiagnoseRequest {};
        list_reservations: ListReservationsRequest {};
        list_contexts: ListContextsRequest { access };
    }
    calls! { control, recording, "grpc-list.txt",
        list: ListRequest { filter };
        list: ListRequest::default();
    }
    let mut watch = watch(control, "echo").await;
    let snapshot = watch.message().await.unwrap();
    recording.section("grpc-watch.txt", "watch", &format!("{snapshot:#?}"));
    for limit in [0, 2] {
        let request = EventsRequest {
            limit,
            ..EventsRequest::default()
        };
        let events = control.client.events(request).await.unwrap();
        let events = all(events.into_inner()).await;
        let title = format!("events, limit {limit}");
        recording.section("grpc-events.txt", &title, &format!("{events:#?}"));
    }
    refused(control, recording).await;
}

async fn refused(control: &mut Control, recording: &mut Recording) {
    let access = control.access.clone();
    let elsewhere = Access {
        context: "nowhere".to_owned(),
        ..access.clone()
    };
    let nothing = || "nothing".to_owned();
    let namespace = |access: &Access, name: &str| AddNamespaceRequest {
        access: Some(access.clone()),
        namespace: name.to_owned(),
        ..AddNamespaceRequest::default()
    };
    let service = |name: &str, local_ip: &str| AddServiceRequest {
        access: Some(access.clone()),
        namespace: "other".to_owned(),
        service: name.to_owned(),
        local_ip: local_ip.to_owned(),
        ..AddServiceRequest::default()
    };
    calls! { control, recording, "grpc-refusals.txt",
        add_namespace: namespace(&access, "Not_A_Name");
        add_namespace: namespace(&access, "missing");
        add_namespace: namespace(&elsewhere, "demo");
        add_namespace: namespace(&access, "demo");
        add_service: service("missing", "");
        add_service: service("extra", "10.1.1.1");
        add_service: service("extra", "127.8.8.8");
        remove_namespace: RemoveNamespaceRequest { key: nothing(), ..Default::default() };
        remove_service: RemoveServiceRequest { key: nothing(), ..Default::default() };
        reconnect: ReconnectRequest { keys: vec![nothing()], ..Default::default() };
        set_capture: SetCaptureRequest { key: nothing(), ..Default::default() };
        list_contexts: ListContextsRequest { access: None };
        add_reservation: reservation("late.demo.sim", "10.1.1.1");
        add_reservation: reservation("x", "127.9.9.11");
        add_reservation: reservation("new.demo.sim", "127.9.9.9");
        remove_reservation: release("127.9.9.8");
        remove_reservation: release("echo.demo.sim");
    }
}

pub(crate) async fn change(scene: &Scene, control: &mut Control, recording: &mut Recording) {
    let access = Some(control.access.clone());
    let service = AddServiceRequest {
        access: access.clone(),
        namespace: "other".to_owned(),
        service: "extra".to_owned(),
        ports: vec![80],
        options: Some(Options {
            port_mappings: vec![PortMapping { from: 80, to: 8077 }],
            ..Options::default()
        }),
        ..AddServiceRequest::default()
    };
    let namespace = AddNamespaceRequest {
        access,
        namespace: "other".to_owned(),
        selection: Some(Selection {
            label_selector: "tier=front".to_owned(),
            ..Selection::default()
        }),
        ..AddNamespaceRequest::default()
    };
    let key = || "extra.other.sim".to_owned();
    let remove = || RemoveNamespaceRequest {
        key: "other.sim".to_owned(),
        ..RemoveNamespaceRequest::default()
    };
    calls! { control, recording, "grpc-changes.txt", add_service: service.clone(); }
    let _extra = scene.system.service_in(&key(), "active");
    let watch = watch(control, "extra").await;
    calls! { control, recording, "grpc-changes.txt",
        set_capture: SetCaptureRequest { key: key(), on: false, uid: None };
        reconnect: ReconnectRequest { keys: vec![key()], ..Default::default() };
        remove_service: RemoveServiceRequest { key: key(), ..Default::default() };
        remove_namespace: remove();
        add_namespace: namespace.clone();
        remove_namespace: remove();
        add_reservation: reservation("new.demo.sim", "127.9.9.12");
        remove_reservation: release("new.demo.sim");
    }
    let removed = removal(watch).await;
    recording.section("grpc-watch.txt", "watch, removed", &format!("{removed:#?}"));
    let attach = AttachRequest {
        namespaces: vec![namespace],
        services: vec![service],
    };
    let attached = control.client.attach(attach).await.unwrap();
    let added = attached.into_inner().message().await.unwrap();
    recording.section("grpc-changes.txt", "attach", &format!("{added:#?}"));
}

async fn watch(control: &mut Control, service: &str) -> Streaming<WatchResponse> {
    let filter = Some(Filter {
        service: service.to_owned(),
        ..Filter::default()
    });
    let watch = control.client.watch(WatchRequest { filter }).await;
    watch.unwrap().into_inner()
}

/// What a watch says is gone, once it does; what it says before depends on how fast it is read.
async fn removal(mut watch: Streaming<WatchResponse>) -> Vec<ObjectRef> {
    loop {
        let message = watch.message().await.unwrap().unwrap();
        if let Some(watch_response::Update::Changes(changes)) = message.update
            && !changes.removed_services.is_empty()
        {
            return changes.removed_services;
        }
    }
}

fn reservation(key: &str, address: &str) -> AddReservationRequest {
    let reservation = Some(Reservation {
        key: key.to_owned(),
        address: address.to_owned(),
        ..Reservation::default()
    });
    AddReservationRequest { reservation }
}

fn release(target: &str) -> RemoveReservationRequest {
    let target = target.to_owned();
    RemoveReservationRequest { target }
}

async fn all<T>(mut stream: Streaming<T>) -> Vec<T> {
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        messages.push(message);
    }
    messages
}

fn shown<T: Debug>(answer: Result<Response<T>, Status>) -> String {
    match answer {
        Ok(answer) => format!("{:#?}", answer.into_inner()),
        Err(status) => format!(
            "{:?}: {}\n{:#?}",
            status.code(),
            status.message(),
            status.get_error_details_vec()
        ),
    }
}
