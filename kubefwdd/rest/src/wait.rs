//! Waiting until what was added is active, for CI: the answer says that all is, or what is not and why.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use kubefwd_core::state::View;
use kubefwd_model as model;
use kubefwd_model::duration as time;
use kubefwd_model::{NamespaceKey, NamespaceStatus, ServiceKey, ServiceStatus};
use serde::{Deserialize, Deserializer};
use tokio::sync::watch;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::error::{ApiError, Code, NotReady};

/// How long `true` waits.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);
/// The longest wait.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// How long an answer without `wait` waits for the names and addresses of what was added.
const NAMES_TIMEOUT: Duration = Duration::from_secs(5);
/// How many of those that are not active are named.
const MAX_NOT_READY: usize = 100;

/// How long to wait; `None` for not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wait(Option<Duration>);

/// What is waited for.
#[derive(Clone, Debug)]
pub(crate) enum Awaited {
    /// One service.
    Service(ServiceKey),
    /// All services of a namespace.
    Namespace(NamespaceKey),
}

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Switch(bool),
            Seconds(f64),
            Text(String),
        }
        let wait = match Option::<Form>::deserialize(deserializer) {
            Ok(None | Some(Form::Switch(false))) => return Ok(Self(None)),
            Ok(Some(Form::Switch(true))) => Some(DEFAULT_WAIT),
            Ok(Some(Form::Seconds(seconds))) => Duration::try_from_secs_f64(seconds).ok(),
            Ok(Some(Form::Text(text))) => time::parse(&text),
            Err(_) => None,
        };
        let wait = wait.filter(|wait| *wait <= MAX_WAIT).ok_or_else(|| {
            let longest = MAX_WAIT.as_secs();
            let text = format!(
                "wait must be true, false, or a time of at most {longest} s such as \"30s\""
            );
            serde::de::Error::custom(text)
        })?;
        Ok(Self(Some(wait)))
    }
}

impl PartialSchema for Wait {
    fn schema() -> RefOr<Schema> {
        let switch = ObjectBuilder::new().schema_type(Type::Boolean);
        let seconds = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0))
            .maximum(Some(MAX_WAIT.as_secs()));
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[1-9][0-9]?s$"));
        OneOfBuilder::new()
            .item(switch)
            .item(seconds)
            .item(text)
            .examples([serde_json::json!("30s")])
            .into()
    }
}

impl ToSchema for Wait {}

// === impl Awaited ===

impl Awaited {
    fn is_known(&self, view: &View) -> bool {
        use NamespaceStatus::{Connecting, Watching};
        let status = |key: &NamespaceKey| view.namespaces.get(key).map(|found| found.status);
        match self {
            Self::Service(key) => match view.services.get(key) {
                // Complete enough to be shown: it has its names, or it never will.
                Some(service) => {
                    let forwards = service.forwards.iter().map(|forward| &forward.hostnames);
                    let mut hostnames = [&service.hostnames].into_iter().chain(forwards);
                    let never = [ServiceStatus::Error, ServiceStatus::Unsupported];
                    hostnames.any(|names| !names.is_empty()) || never.contains(&service.status)
                }
                // Removed in the meantime, or its namespace cannot be watched: it will not come.
                None => !matches!(status(&key.namespace_key()), Some(Connecting | Watching)),
            },
            Self::Namespace(key) => status(key) != Some(Connecting),
        }
    }

    /// What is not active. Empty when everything that can be active is.
    fn missing(&self, view: &View) -> Vec<NotReady> {
        let mut missing = Vec::new();
        let (namespace, own): (_, Vec<&Arc<model::Service>>) = match self {
            Self::Service(key) => {
                let service = view.services.get(key);
                if service.is_none() {
                    let reason = "the cluster has not shown it yet";
                    missing.push(not_ready(key, "pending", reason));
                }
                (key.namespace_key(), service.into_iter().collect())
            }
            Self::Namespace(key) => (key.clone(), view.services_of(key).collect()),
        };
        let found = view.namespaces.get(&namespace);
        let problem = match found.map(|found| (found.status, &found.failure)) {
            None => Some(("removed", "it was removed in the meantime")),
            Some((NamespaceStatus::Failed, failure)) => {
                let why = failure.as_ref().map_or("", |failure| &failure.message);
                Some(("error", why))
            }
            Some((NamespaceStatus::Connecting, _)) => {
                Some(("pending", "its services are not known yet"))
            }
            Some((NamespaceStatus::Watching, _)) => None,
        };
        missing.extend(problem.map(|(status, why)| not_ready(&namespace, status, why)));
        let awaited = own.into_iter().filter(|service| match service.status {
            ServiceStatus::Active => false,
            // One that cannot be forwarded is not waited for, unless it is what was asked for.
            ServiceStatus::Unsupported => matches!(self, Self::Service(_)),
            ServiceStatus::Error | ServiceStatus::Partial | ServiceStatus::Pending => true,
        });
        missing.extend(awaited.map(|service| {
            let status = service.status.as_str();
            not_ready(&service.key, status, &service.status_reason)
        }));
        missing
    }

    /// The single service that is meant, when it cannot be forwarded at all.
    fn unforwardable<'a>(&self, view: &'a View) -> Option<&'a Arc<model::Service>> {
        let Self::Service(key) = self else {
            return None;
        };
        view.services
            .get(key)
            .filter(|service| service.status == ServiceStatus::Unsupported)
    }

    fn key(&self) -> String {
        match self {
            Self::Service(key) => key.to_string(),
            Self::Namespace(key) => key.to_string(),
        }
    }
}

/// Waits as asked; without `wait` only until names and addresses are known.
///
/// # Errors
/// When not everything is active in time: what is not, and why.
pub(crate) async fn until_active(
    mut views: watch::Receiver<Arc<View>>,
    target: &Awaited,
    wait: Wait,
) -> Result<Arc<View>, ApiError> {
    let Some(limit) = wait.0 else {
        let known = views.wait_for(|view| target.is_known(view));
        // What is still unknown then is left out of the answer.
        let _ = tokio::time::timeout(NAMES_TIMEOUT, known).await;
        return Ok(views.borrow().clone());
    };
    let all = views
        .wait_for(|view| target.missing(view).is_empty() || target.unforwardable(view).is_some());
    let waited = tokio::time::timeout(limit, all).await.is_ok();
    let view = views.borrow().clone();
    if let Some(service) = target.unforwardable(&view) {
        let message = format!(
            "{} is added, but it cannot be forwarded: {}",
            service.key, service.status_reason
        );
        return Err(ApiError::new(StatusCode::CONFLICT, Code::Conflict, message)
            .hint("no waiting helps; remove it, or change the service in the cluster"));
    }
    if waited {
        return Ok(view);
    }
    let mut not_ready = target.missing(&view);
    let (count, key) = (not_ready.len(), target.key());
    let mut message = format!(
        "{key} is added, but not all of it is active after {}: ",
        time::long(limit)
    );
    let reasons: Vec<String> = not_ready
        .iter()
        .take(3)
        .map(|one| format!("{}: {}", one.key, one.reason))
        .collect();
    message.push_str(&reasons.join("; "));
    if count > reasons.len() {
        message.push_str(&format!("; and {} more", count - reasons.len()));
    }
    not_ready.truncate(MAX_NOT_READY);
    let mut refusal = ApiError::unavailable(message)
        .hint("it stays added and becomes active when it can; see GET /api/v1/analyze");
    refusal.body.not_ready = not_ready;
    Err(refusal)
}

fn not_ready(key: &impl ToString, status: &'static str, reason: &str) -> NotReady {
    NotReady {
        key: key.to_string(),
        status,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
