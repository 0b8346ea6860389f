//! The control endpoint: causing faults from a shell or another process, by plain HTTP on loopback.
//!
//! | request | effect |
//! |---|---|
//! | `GET /sim/counts` | the [counters](crate::Counts) as JSON |
//! | `POST /sim/counts/reset` | sets them to zero |
//! | `GET /sim/pods?ns=&workload=` | the names of a workload's pods, one per line |
//! | `POST /sim/rollout?ns=&deploy=` | replaces all pods of a workload; answered when done |
//! | `POST /sim/scale?ns=&deploy=&replicas=` | changes their number; answered when done |
//! | `POST /sim/delete-pod?ns=&pod=` | deletes a pod gracefully; its controller replaces it |
//! | `POST /sim/remove-pod?ns=&pod=` | removes a pod at once |
//! | `POST /sim/kill?ns=&pod=`, `/sim/start?ns=&pod=` | kills and starts a container |
//! | `POST /sim/ready?ns=&pod=&ready=true` | lets a readiness probe succeed or fail |
//! | `POST /sim/network?ns=&pod=&port=&delay-ms=&rate=&stalled=&refused=&partitions=` | sets a network fault |
//! | `POST /sim/reset?ns=&pod=` | resets open connections to applications |
//! | `POST /sim/requests?method=&path=&resource=&verb=&user=&code=&delay-ms=&times=` | makes requests fail |
//! | `POST /sim/clear` | takes all faults and denials back |
//! | `POST /sim/deny?user=&verb=&resource=&ns=` | forbids something |
//! | `POST /sim/runtime-gone`, `/sim/kubelet-restart` | ends port-forwards |
//! | `POST /sim/cut-watches`, `/sim/end-watches`, `/sim/compact`, `/sim/cut-connections` | |
//! | `POST /sim/api/stop`, `/sim/api/start`, `/sim/api/restart` | the API server |
//! | `POST /sim/flavour?tunnel=&spdy=&websocket=&resets=&fragments=&syncing=&needs-create=` | see [`Flavour`](crate::Flavour) |
//! | `POST /sim/service?ns=&name=&port=&target=`, `/sim/delete-service?ns=&name=` | |
//! | `POST /sim/namespace?name=`, `/sim/delete-namespace?name=` | |
//! | `POST /sim/token?user=&seconds=` | a new bearer token, as text |
//! | `POST /sim/log?ns=&pod=&line=` | appends to a pod's log |
//!
//! Answers are 200 with a short text, 404 for what the cluster does not have, 400 for a missing parameter.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::api::uri::Query;
use crate::auth::Rule;
use crate::cluster::Cluster;
use crate::faults::{NetworkFault, RequestEffect, RequestMatch, Scope};
use crate::spec::{Service, ServicePort, TargetPort};

/// Serves the control endpoint until dropped.
///
/// # Errors
/// When the listener fails.
pub async fn serve(cluster: Arc<Cluster>, listener: TcpListener) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        let cluster = Arc::clone(&cluster);
        let service = service_fn(move |request| answer(Arc::clone(&cluster), request));
        connections.spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(tcp), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a control connection ended with an error");
            }
        });
    }
}

/// Why a control request was refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("parameter {0} is missing")]
    Missing(&'static str),
    #[error("parameter {0} is no number")]
    Number(&'static str),
    #[error("{0} {1} does not exist")]
    NotFound(&'static str, String),
    #[error("no such control request; the documentation of the control module lists them")]
    Unknown,
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    fn code(&self) -> StatusCode {
        match self {
            Self::Missing(_) | Self::Number(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(..) | Self::Unknown => StatusCode::NOT_FOUND,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

async fn answer(
    cluster: Arc<Cluster>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let query = Arguments(Query::parse(request.uri().query()));
    let path = request
        .uri()
        .path()
        .strip_prefix("/sim/")
        .unwrap_or_default();
    let result = match *request.method() {
        Method::GET => read(&cluster, path, &query),
        Method::POST => act(&cluster, path, &query).await,
        _ => Err(Refusal::Unknown),
    };
    let (code, text) = match result {
        Ok(text) => (StatusCode::OK, text),
        Err(refusal) => (refusal.code(), format!("{refusal}\n")),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = code;
    Ok(response)
}

/// The parameters of a request.
struct Arguments(Query);

impl Arguments {
    fn need(&self, name: &'static str) -> Result<&str, Refusal> {
        self.0.get(name).ok_or(Refusal::Missing(name))
    }

    fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<Option<T>, Refusal> {
        let value = self.0.get(name);
        value
            .map(|text| text.parse().map_err(|_| Refusal::Number(name)))
            .transpose()
    }

    fn flag(&self, name: &str) -> bool {
        self.0.flag(name)
    }

    fn pod(&self) -> Result<(&str, &str), Refusal> {
        Ok((self.need("ns")?, self.need("pod")?))
    }

    fn workload(&self) -> Result<(&str, &str), Refusal> {
        let name = self.0.get("deploy").or_else(|| self.0.get("workload"));
        Ok((self.need("ns")?, name.ok_or(Refusal::Missing("deploy"))?))
    }

    fn scope(&self) -> Result<Scope, Refusal> {
        let mut scope = Scope::all();
        if let Some(namespace) = self.0.get("ns") {
            scope = scope.namespace(namespace);
        }
        if let Some(pod) = self.0.get("pod") {
            scope = scope.pod(pod);
        }
        if let Some(port) = self.number("port")? {
            scope = scope.port(port);
        }
        Ok(scope)
    }
}

fn read(cluster: &Cluster, path: &str, query: &Arguments) -> Result<String, Refusal> {
    match path {
        "counts" => serde_json::to_string_pretty(&cluster.counts())
            .map_err(|error| Refusal::Failed(error.to_string())),
        "pods" => {
            let (namespace, workload) = query.workload()?;
            Ok(cluster
                .pods(namespace, workload)
                .into_iter()
                .map(|pod| pod + "\n")
                .collect())
        }
        _ => Err(Refusal::Unknown),
    }
}

fn done() -> Result<String, Refusal> {
    Ok("ok\n".to_owned())
}

fn found(found: bool, kind: &'static str, name: &str) -> Result<String, Refusal> {
    if found {
        done()
    } else {
        Err(Refusal::NotFound(kind, name.to_owned()))
    }
}

async fn act(cluster: &Cluster, path: &str, query: &Arguments) -> Result<String, Refusal> {
    match path {
        "rollout" => {
            let (namespace, name) = query.workload()?;
            found(cluster.rollout(namespace, name).await, "workload", name)
        }
        "scale" => {
            let (namespace, name) = query.workload()?;
            let replicas = query.number("replicas")?;
            let replicas = replicas.ok_or(Refusal::Missing("replicas"))?;
            let there = cluster.scale(namespace, name, replicas).await;
            found(there, "workload", name)
        }
        "delete-pod" => {
            let (namespace, pod) = query.pod()?;
            found(cluster.delete_pod(namespace, pod).await, "pod", pod)
        }
        "api/stop" => {
            cluster.stop_api_server().await;
            done()
        }
        "api/start" => start_api(cluster).await,
        "api/restart" => {
            cluster.stop_api_server().await;
            start_api(cluster).await
        }
        _ => act_at_once(cluster, path, query),
    }
}

async fn start_api(cluster: &Cluster) -> Result<String, Refusal> {
    match cluster.start_api_server().await {
        Ok(()) => done(),
        Err(error) => Err(Refusal::Failed(format!(
            "the API server cannot listen again: {error}"
        ))),
    }
}

fn act_at_once(cluster: &Cluster, path: &str, query: &Arguments) -> Result<String, Refusal> {
    match path {
        "counts/reset" => cluster.reset_counters(),
        "remove-pod" => {
            let (namespace, pod) = query.pod()?;
            return found(cluster.remove_pod(namespace, pod), "pod", pod);
        }
        "kill" => {
            let (namespace, pod) = query.pod()?;
            cluster.kill_container(namespace, pod);
        }
        "start" => {
            let (namespace, pod) = query.pod()?;
            cluster.start_container(namespace, pod);
        }
        "ready" => {
            let (namespace, pod) = query.pod()?;
            cluster.set_ready(namespace, pod, query.flag("ready"));
        }
        "network" => cluster.set_network_fault(query.scope()?, network_fault(query)?),
        "reset" => cluster.reset_connections(&query.scope()?),
        "requests" => fail_requests(cluster, query)?,
        "clear" => {
            cluster.clear_network_faults();
            cluster.clear_request_faults();
            cluster.clear_denials();
        }
        "deny" => deny(cluster, query)?,
        "runtime-gone" => cluster.lose_runtime(),
        "kubelet-restart" => cluster.restart_kubelet(),
        "cut-watches" => cluster.cut_watches(),
        "end-watches" => cluster.end_watches(),
        "compact" => cluster.compact(),
        "cut-connections" => cluster.cut_connections(),
        "flavour" => change_flavour(cluster, query),
        "service" => put_service(cluster, query)?,
        "delete-service" => {
            let (namespace, name) = (query.need("ns")?, query.need("name")?);
            return found(cluster.delete_service(namespace, name), "service", name);
        }
        "namespace" => cluster.create_namespace(query.need("name")?),
        "delete-namespace" => cluster.delete_namespace(query.need("name")?),
        "token" => return token(cluster, query),
        "log" => {
            let (namespace, pod) = query.pod()?;
            return found(cluster.log(namespace, pod, query.need("line")?), "pod", pod);
        }
        _ => return Err(Refusal::Unknown),
    }
    done()
}

fn network_fault(query: &Arguments) -> Result<NetworkFault, Refusal> {
    Ok(NetworkFault {
        delay: Duration::from_millis(query.number("delay-ms")?.unwrap_or(0)),
        rate: query.number("rate")?,
        stalled: query.flag("stalled"),
        refused: query.flag("refused"),
        stalled_partitions: query.number("partitions")?.unwrap_or(0),
    })
}

fn fail_requests(cluster: &Cluster, query: &Arguments) -> Result<(), Refusal> {
    let mut matching = RequestMatch::any();
    if let Some(method) = query.0.get("method") {
        matching = matching.method(method);
    }
    if let Some(path) = query.0.get("path") {
        matching = matching.path_prefix(path);
    }
    if let Some(resource) = query.0.get("resource") {
        matching = matching.resource(resource);
    }
    if let Some(verb) = query.0.get("verb") {
        matching = matching.verb(verb);
    }
    if let Some(user) = query.0.get("user") {
        matching = matching.user(user);
    }
    let effect = match (query.number("code")?, query.number("delay-ms")?) {
        (Some(code), _) => RequestEffect::Answer(code),
        (None, Some(delay)) => RequestEffect::Delay(Duration::from_millis(delay)),
        (None, None) => return Err(Refusal::Missing("code")),
    };
    cluster.fail_requests(matching, effect, query.number("times")?);
    Ok(())
}

fn deny(cluster: &Cluster, query: &Arguments) -> Result<(), Refusal> {
    let mut rule = Rule::new([query.need("verb")?], [query.need("resource")?]);
    if let Some(namespace) = query.0.get("ns") {
        rule = rule.in_namespace(namespace);
    }
    match query.0.get("user") {
        Some(user) => cluster.deny_user(user, rule),
        None => cluster.deny(rule),
    }
    Ok(())
}

fn change_flavour(cluster: &Cluster, query: &Arguments) {
    let given = |name: &str| query.0.get(name).map(|_| query.flag(name));
    cluster.change_flavour(|flavour| {
        for (name, field) in [
            ("tunnel", &mut flavour.websocket_tunnel),
            ("spdy", &mut flavour.classic_spdy),
            ("websocket", &mut flavour.websocket),
            ("resets", &mut flavour.resets_after_errors),
            ("fragments", &mut flavour.tunnel_fragments),
            ("syncing", &mut flavour.kubelet_syncing),
            ("needs-create", &mut flavour.websocket_needs_create),
        ] {
            if let Some(value) = given(name) {
                *field = value;
            }
        }
    });
}

fn put_service(cluster: &Cluster, query: &Arguments) -> Result<(), Refusal> {
    let port = query.number("port")?.ok_or(Refusal::Missing("port"))?;
    let mut port = ServicePort::tcp(port);
    if let Some(target) = query.0.get("target") {
        port = match target.parse::<u16>() {
            Ok(number) => port.target(number),
            Err(_) => port.target(TargetPort::Name(target.to_owned())),
        };
    }
    let mut service = Service::new(query.need("name")?).port(port);
    if let Some(app) = query.0.get("app") {
        service = service.selects("app", app);
    }
    cluster.put_service(query.need("ns")?, service);
    Ok(())
}

fn token(cluster: &Cluster, query: &Arguments) -> Result<String, Refusal> {
    let user = query.need("user")?;
    let validity = query.number("seconds")?.map(Duration::from_secs);
    match cluster.token(user, validity) {
        Ok(token) => Ok(token + "\n"),
        Err(unknown) => Err(Refusal::Failed(unknown.to_string())),
    }
}
