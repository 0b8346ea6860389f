//! Requests with the user's credentials. A request that is answered 401 is repeated once with new ones: the API server
//! authenticates before it acts, so this is safe for all requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::Body;
use parking_lot::Mutex;
use rustls::ClientConfig;
use thiserror::Error;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, service_fn};

use super::bounded::{Bound, BoundedBody};
use kubefwd_portforward::api_server::{ApiServer, Credentials};
use kubefwd_portforward::dial::{self, DialError, Io};

/// From the request to the head of its answer: watches and logs answer at once too.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(60);
const IDLE_CONNECTIONS: usize = 4;
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("kubefwd-worker/", env!("CARGO_PKG_VERSION")));

/// The largest accepted answer, bytes: a page of 500 objects, each with as many annotations as etcd accepts.
const MAX_ANSWER: usize = 128 * 1024 * 1024;
/// The longest accepted line of a watch or log, bytes: etcd accepts objects of 1.5 MiB.
const MAX_LINE: usize = 16 * 1024 * 1024;
/// The largest accepted error, bytes.
const MAX_ERROR: usize = 1024 * 1024;

type HttpClient = Client<Connector, Full<Bytes>>;
type Connector = BoxCloneSyncService<Uri, TokioIo<Box<dyn Io>>, DialError>;

/// The API server accepted the request and did not answer.
#[derive(Debug, Error)]
#[error("the API server did not answer within {} s", ANSWER_LIMIT.as_secs())]
pub(super) struct NoAnswer;

/// The HTTP side of one cluster.
#[derive(Clone)]
pub(super) struct Transport {
    server: Arc<ApiServer>,
    /// The client whose connections were made with this TLS configuration.
    current: Arc<Mutex<Option<Current>>>,
}

struct Current {
    tls: Option<Arc<ClientConfig>>,
    client: HttpClient,
}

impl Transport {
    pub(super) fn new(server: Arc<ApiServer>) -> Self {
        Self {
            server,
            current: Arc::default(),
        }
    }

    /// Opens new connections from now on.
    pub(super) fn reconnect(&self) {
        *self.current.lock() = None;
    }

    /// A Kubernetes client that sends its requests this way.
    pub(super) fn client(&self, namespace: &str) -> kube::Client {
        let transport = self.clone();
        let send = move |request| transport.clone().send(request);
        kube::Client::new(service_fn(send), namespace)
    }

    async fn send(self, request: Request<Body>) -> Result<Response<BoundedBody>, BoxError> {
        let (mut parts, body) = request.into_parts();
        parts.uri = absolute(&self.server.url, &parts.uri)?;
        parts.headers.insert(USER_AGENT, AGENT);
        let body = body.collect().await?.to_bytes();

        let credentials = self.server.credentials.credentials(None).await?;
        let response = self.send_once(&credentials, &parts, &body).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let rejected = Some(credentials.generation);
        let credentials = self.server.credentials.credentials(rejected).await?;
        self.send_once(&credentials, &parts, &body).await
    }

    async fn send_once(
        &self,
        credentials: &Credentials,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Response<BoundedBody>, BoxError> {
        let mut request = Request::from_parts(parts.clone(), Full::new(body.clone()));
        for name in credentials.headers.keys() {
            request.headers_mut().remove(name);
        }
        for (name, value) in &credentials.headers {
            request.headers_mut().append(name, value.clone());
        }
        let sending = self.http(credentials).request(request);
        let answer = tokio::time::timeout(ANSWER_LIMIT, sending).await;
        let answer = answer.map_err(|_| NoAnswer)??;
        let bound = bound(answer.status(), &parts.uri);
        Ok(answer.map(|body| bound.limit(body)))
    }

    /// The client for these credentials: another certificate or other trust roots need other connections.
    fn http(&self, credentials: &Credentials) -> HttpClient {
        let mut current = self.current.lock();
        let address = |tls: &Option<Arc<ClientConfig>>| tls.as_ref().map(Arc::as_ptr);
        if let Some(current) = &*current
            && address(&current.tls) == address(&credentials.tls)
        {
            return current.client.clone();
        }
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector(self.server.clone(), credentials.tls.clone()));
        *current = Some(Current {
            tls: credentials.tls.clone(),
            client: client.clone(),
        });
        client
    }
}

/// Makes connections to one API server with one TLS configuration.
fn connector(server: Arc<ApiServer>, tls: Option<Arc<ClientConfig>>) -> Connector {
    BoxCloneSyncService::new(service_fn(move |_: Uri| {
        let (server, tls) = (server.clone(), tls.clone());
        async move { dial::connect(&server, tls).await.map(TokioIo::new) }
    }))
}

/// How much of an answer is read. Watches and logs are endless, and their readers keep nothing.
fn bound(status: StatusCode, uri: &Uri) -> Bound {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    let is_watch = pairs.any(|pair| pair.starts_with("watch=") && pair != "watch=false");
    if !status.is_success() {
        Bound::All(MAX_ERROR)
    } else if is_watch || uri.path().ends_with("/log") {
        Bound::Line(MAX_LINE)
    } else {
        Bound::All(MAX_ANSWER)
    }
}

/// Puts scheme, authority and prefix of the server in front of a path.
fn absolute(server: &Uri, path: &Uri) -> Result<Uri, http::Error> {
    let prefix = server.path().trim_end_matches('/');
    let path = path.path_and_query().map_or("/", |path| path.as_str());
    let whole = Uri::builder().path_and_query(format!("{prefix}{path}"));
    let mut parts = server.clone().into_parts();
    parts.path_and_query = whole.build()?.into_parts().path_and_query;
    Ok(Uri::from_parts(parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_bounded() {
        let limit = |status, uri: &str| bound(status, &uri.parse().unwrap());
        assert_eq!(
            limit(StatusCode::OK, "/api/v1/pods?watch=true&x=1"),
            Bound::Line(MAX_LINE)
        );
        assert_eq!(
            limit(
                StatusCode::OK,
                "/api/v1/namespaces/a/pods/b/log?follow=true"
            ),
            Bound::Line(MAX_LINE)
        );
        assert_eq!(
            limit(StatusCode::OK, "/api/v1/pods?labelSelector=watch"),
            Bound::All(MAX_ANSWER)
        );
        assert_eq!(
            limit(StatusCode::FORBIDDEN, "/api/v1/pods?watch=true"),
            Bound::All(MAX_ERROR)
        );
    }

    #[test]
    fn the_prefix_of_a_gateway_is_kept() {
        let joined = |server: &str, path: &str| {
            absolute(&server.parse().unwrap(), &path.parse().unwrap())
                .unwrap()
                .to_string()
        };
        assert_eq!(
            joined("https://h:1", "/api/v1?limit=5"),
            "https://h:1/api/v1?limit=5"
        );
        assert_eq!(
            joined("https://h/k8s/c-1/", "/version"),
            "https://h/k8s/c-1/version"
        );
    }
}
