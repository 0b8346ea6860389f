//! Finding objects by their keys.
//!
//! A context may hold dots, so a key cannot be taken apart without knowing what there is: keys are compared with what
//! exists. Names of services and namespaces hold no dot.

use std::sync::Arc;

use kubefwd_core::policy::Actor;
use kubefwd_core::state::View;
use kubefwd_model as model;
use kubefwd_model::{ContextName, NamespaceKey, NamespaceName, ServiceKey, ServiceName, Uid};

use super::error::ApiError;

/// The service, or one pod of a headless one, that a key selects.
#[derive(Clone, Debug)]
pub(crate) struct FoundService {
    /// The service.
    pub(crate) service: Arc<model::Service>,
    /// Only this pod of it.
    pub(crate) pod: Option<String>,
}

/// A forward that a key selects, with its service.
#[derive(Clone, Debug)]
pub(crate) struct FoundForward {
    /// The service.
    pub(crate) service: Arc<model::Service>,
    /// Where among its forwards.
    index: usize,
}

// === impl FoundService ===

impl FoundService {
    /// The forwards that are meant.
    pub(crate) fn forwards(&self) -> impl Iterator<Item = &model::Forward> + Clone {
        let pod = self.pod.as_deref();
        self.service
            .forwards
            .iter()
            .filter(move |forward| pod.is_none_or(|pod| forward.pod == pod))
    }
}

// === impl FoundForward ===

impl FoundForward {
    /// The forward.
    pub(crate) fn forward(&self) -> &model::Forward {
        &self.service.forwards[self.index]
    }
}

/// The service with the key `service.namespace.context`, or of the pod with the key `pod.service.namespace.context`; of
/// several users' the caller's own first.
pub(crate) fn service(view: &View, actor: &Actor, key: &str) -> Result<FoundService, ApiError> {
    if let Some(service) = exact(view, actor, key) {
        return Ok(FoundService { service, pod: None });
    }
    for (dot, _) in key.match_indices('.') {
        let (pod, rest) = (&key[..dot], &key[dot + 1..]);
        if let Some(service) = exact(view, actor, rest)
            && service.headless
            && service.forwards.iter().any(|forward| forward.pod == pod)
        {
            return Ok(FoundService {
                service,
                pod: Some(pod.to_owned()),
            });
        }
    }
    service_key(Uid::ROOT, key)?;
    Err(
        ApiError::not_found(format!("no service has the key {key:?}"))
            .hint("see GET /api/v1/services"),
    )
}

/// All forwards that a key selects: `service.namespace.context.pod.localPort`, `pod.service.namespace.context`,
/// `pod.namespace.context`, `service.namespace.context`. In the order of their keys, first those whose own key begins with
/// this one: a service's before those of its pods, a pod's own before that of its service.
pub(crate) fn forwards(
    view: &View,
    actor: &Actor,
    key: &str,
) -> Result<Vec<FoundForward>, ApiError> {
    let mut found: Vec<FoundForward> = Vec::new();
    for service in visible(view, actor) {
        let forwards = service.forwards.iter().enumerate();
        let selected = forwards.filter(|(_, forward)| selects(key, service, forward));
        found.extend(selected.map(|(index, _)| FoundForward {
            service: service.clone(),
            index,
        }));
    }
    // A forward with exactly this key wins, whatever else the key may mean.
    if found.iter().any(|found| found.forward().key == key) {
        found.retain(|found| found.forward().key == key);
    }
    found.sort_by_cached_key(|found| {
        let forward = found.forward();
        let is_foreign = actor.uid() != Some(found.service.key.uid);
        let is_indirect = !begins_with(&forward.key, key);
        (
            is_foreign,
            is_indirect,
            forward.key.clone(),
            forward.local_port,
        )
    });
    // Where root sees the same key of several users, one user's are selected.
    if let Some(uid) = found.first().map(|found| found.service.key.uid) {
        found.retain(|found| found.service.key.uid == uid);
        return Ok(found);
    }
    service_key(Uid::ROOT, key)?;
    Err(no_forward(key))
}

/// No forward has this key.
pub(crate) fn no_forward(key: &str) -> ApiError {
    ApiError::not_found(format!("no forward has the key {key:?}")).hint("see GET /api/v1/forwards")
}

/// The first forward that a key selects.
pub(crate) fn forward(view: &View, actor: &Actor, key: &str) -> Result<FoundForward, ApiError> {
    let first = forwards(view, actor, key)?.into_iter().next();
    first.ok_or_else(|| no_forward(key))
}

/// The namespace with the key `namespace.context`.
pub(crate) fn namespace(
    view: &View,
    actor: &Actor,
    key: &str,
) -> Result<Arc<model::Namespace>, ApiError> {
    let parsed = namespace_key(Uid::ROOT, key)?;
    let found = users(view, actor).find_map(|uid| {
        view.namespaces.get(&NamespaceKey {
            uid,
            ..parsed.clone()
        })
    });
    found.cloned().ok_or_else(|| {
        ApiError::not_found(format!("the namespace {key:?} is not forwarded"))
            .hint("see GET /api/v1/namespaces")
    })
}

/// Every service that the caller may see, in the order of their keys.
pub(crate) fn visible<'a>(
    view: &'a View,
    actor: &'a Actor,
) -> impl Iterator<Item = &'a Arc<model::Service>> {
    // Services are ordered by user first: policy is asked once for each user, not for each service.
    let mut last = None;
    view.services.iter().filter_map(move |(key, service)| {
        let (_, sees) = match last {
            Some((uid, sees)) if uid == key.uid => (uid, sees),
            _ => *last.insert((key.uid, actor.sees(key.uid))),
        };
        sees.then_some(service)
    })
}

/// Reads `namespace.context`.
pub(crate) fn namespace_key(uid: Uid, key: &str) -> Result<NamespaceKey, ApiError> {
    let malformed = || {
        ApiError::bad_request(format!(
            "{key:?} is not a namespace key: it must be namespace.context"
        ))
    };
    let (namespace, context) = key.split_once('.').ok_or_else(malformed)?;
    Ok(NamespaceKey {
        uid,
        context: ContextName::parse(context).map_err(|_| malformed())?,
        namespace: NamespaceName::parse(namespace).map_err(|_| malformed())?,
    })
}

/// Reads `service.namespace.context`.
pub(crate) fn service_key(uid: Uid, key: &str) -> Result<ServiceKey, ApiError> {
    let malformed = || {
        ApiError::bad_request(format!(
            "{key:?} is not a service key: it must be service.namespace.context"
        ))
    };
    let (service, rest) = key.split_once('.').ok_or_else(malformed)?;
    let namespace = namespace_key(uid, rest).map_err(|_| malformed())?;
    Ok(namespace.service(ServiceName::parse(service).map_err(|_| malformed())?))
}

fn exact(view: &View, actor: &Actor, key: &str) -> Option<Arc<model::Service>> {
    let parsed = service_key(Uid::ROOT, key).ok()?;
    users(view, actor)
        .find_map(|uid| {
            view.services.get(&ServiceKey {
                uid,
                ..parsed.clone()
            })
        })
        .cloned()
}

/// The users whose objects the caller may see, the caller first.
fn users<'a>(view: &'a View, actor: &'a Actor) -> impl Iterator<Item = Uid> + 'a {
    let own = actor.uid();
    let mut others: Vec<Uid> = view.namespaces.keys().map(|key| key.uid).collect();
    others.dedup();
    let others = others
        .into_iter()
        .filter(move |uid| Some(*uid) != own && actor.sees(*uid));
    own.into_iter().filter(|uid| actor.sees(*uid)).chain(others)
}

/// Whether a key begins with the parts of a shorter one.
fn begins_with(key: &str, shorter: &str) -> bool {
    key.strip_prefix(shorter)
        .is_some_and(|rest| rest.starts_with('.'))
}

fn selects(key: &str, service: &model::Service, forward: &model::Forward) -> bool {
    if forward.key == key {
        return true;
    }
    let ServiceKey {
        context,
        namespace,
        service: name,
        ..
    } = &service.key;
    let place = [namespace.as_str(), context.as_str()];
    if let Some(rest) = strip(key, &[name.as_str(), place[0], place[1]])
        && (rest.is_empty() || is_pod_and_port(rest, forward))
    {
        return true;
    }
    if forward.pod.is_empty() {
        return false;
    }
    strip(key, &[&forward.pod, place[0], place[1]]) == Some("")
        || strip(key, &[&forward.pod, name.as_str(), place[0], place[1]]) == Some("")
}

/// What follows the parts and the dots between them.
fn strip<'a>(key: &'a str, parts: &[&str]) -> Option<&'a str> {
    let mut rest = key;
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            rest = rest.strip_prefix('.')?;
        }
        rest = rest.strip_prefix(part)?;
    }
    (rest.is_empty() || rest.starts_with('.')).then_some(rest)
}

/// Whether this is `.pod.port` of a forward; a pod that is not known (yet) is written `-`.
fn is_pod_and_port(rest: &str, forward: &model::Forward) -> bool {
    let Some((pod, port)) = rest.rsplit_once('.') else {
        return false;
    };
    let known = if forward.pod.is_empty() {
        "-"
    } else {
        &forward.pod
    };
    pod.strip_prefix('.') == Some(known) && port.parse() == Ok(forward.local_port)
}

#[cfg(test)]
mod tests;
