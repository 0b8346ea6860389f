//! Finding objects by their keys.
//!
//! A context may hold dots, so a key cannot be taken apart without knowing what there is: keys are compared with what
//! exists. Names of services and namespaces hold no dot.

use std::sync::Arc;

use kubefwd_core::policy::Actor;
use kubefwd_core::state::View;
use kubefwd_model as model;
use kubefwd_model::{ContextName, NamespaceKey, NamespaceName, ServiceKey, ServiceName, Uid};

use super::envelope::ApiError;

/// A service, or one pod of a headless one, that a key leads to.
#[derive(Clone, Debug)]
pub(crate) struct FoundService {
    /// The service.
    pub(crate) service: Arc<model::Service>,
    /// Only this pod of it.
    pub(crate) pod: Option<String>,
}

/// A forward that a key leads to, with its service.
#[derive(Clone, Debug)]
pub(crate) struct FoundForward {
    /// The service.
    pub(crate) service: Arc<model::Service>,
    /// ServiceFilter among its forwards.
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

/// All forwards that a key leads to: `service.namespace.context.pod.localPort`, `pod.service.namespace.context`,
/// `pod.namespace.context`, `service.namespace.context`. In the order of their keys, those first whose own key goes on from
/// this one: a service's before those of its pods, a pod's own before that of its service.
pub(crate) fn forwards(
    view: &View,
    actor: &Actor,
    key: &str,
) -> Result<Vec<FoundForward>, ApiError> {
    let mut found: Vec<FoundForward> = Vec::new();
    for service in visible(view, actor) {
        for (index, forward) in service.forwards.iter().enumerate() {
            if leads_to(key, service, forward) {
                found.push(FoundForward {
                    service: service.clone(),
                    index,
                });
            }
        }
    }
    // A forward that has exactly this key is meant, whatever else the key may be read as.
    if found.iter().any(|found| found.forward().key == key) {
        found.retain(|found| found.forward().key == key);
    }
    let rank = |found: &FoundForward| {
        let strange = actor.uid() != Some(found.service.key.uid);
        let aside = !goes_on(&found.forward().key, key);
        (strange, aside)
    };
    found.sort_by(|a, b| {
        let by_key = || a.forward().key.cmp(&b.forward().key);
        rank(a)
            .cmp(&rank(b))
            .then_with(by_key)
            .then_with(|| port(a).cmp(&port(b)))
    });
    // ServiceFilter root sees the same key of several users, only one user's is meant.
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

/// The first forward that a key leads to.
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
    // Services are ordered by user first: whom the caller sees is asked once for each user, not for each service.
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
fn goes_on(key: &str, shorter: &str) -> bool {
    key.strip_prefix(shorter)
        .is_some_and(|rest| rest.starts_with('.'))
}

fn leads_to(key: &str, service: &model::Service, forward: &model::Forward) -> bool {
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

fn port(found: &FoundForward) -> u16 {
    found.forward().local_port
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubefwd_core::samples::{self, actor, forward as sample_forward};

    const ARN: &str = "arn:aws:eks:eu-1:12:cluster/prod.v2";

    fn view() -> View {
        let mut view = View::default();
        let arn = format!("api.shop.{ARN}");
        for (uid, name, context) in [
            (1, "api", ARN),
            (1, "api", "kind"),
            (2, "api", "kind"),
            (1, "db", "kind"),
        ] {
            let mut service = samples::service(uid.into(), name, "shop", context);
            let key = service.key.to_string();
            service.headless = name == "db";
            let units = match service.headless {
                true => vec![
                    (None, "db-0"),
                    (Some("db-0"), "db-0"),
                    (Some("db-1"), "db-1"),
                ],
                false => vec![(None, "api-6f")],
            };
            for (own, pod) in units {
                for port in [9090, 80] {
                    let unit = own.map_or(key.clone(), |pod| format!("{pod}.{key}"));
                    let mut forward = sample_forward(&format!("{unit}.{pod}.{port}"), port);
                    forward.pod = pod.to_owned();
                    forward.pod_address = own.is_some();
                    service.forwards.push(forward);
                }
            }
            samples::add(&mut view, service);
        }
        assert!(view.services.keys().any(|key| key.to_string() == arn));
        view
    }

    fn keys(key: &str, uid: Uid) -> Vec<String> {
        let found = forwards(&view(), &actor(uid), key).unwrap_or_default();
        found
            .iter()
            .map(|found| format!("{}:{}", found.service.key.uid, found.forward().key))
            .collect()
    }

    #[test]
    fn a_service_is_found_by_a_context_with_any_character() {
        let found = service(&view(), &actor(1.into()), &format!("api.shop.{ARN}")).unwrap();
        assert_eq!(found.service.key.context.as_str(), ARN);
        let pod = service(&view(), &actor(1.into()), "db-1.db.shop.kind").unwrap();
        assert_eq!(
            (pod.pod.as_deref(), pod.forwards().count()),
            (Some("db-1"), 2)
        );
        assert_eq!(
            service(&view(), &actor(1.into()), "api.shop.none")
                .unwrap_err()
                .status,
            404
        );
        assert_eq!(
            service(&view(), &actor(1.into()), "api")
                .unwrap_err()
                .status,
            400
        );
        // A pod of a service with a cluster address has no key of its own.
        assert_eq!(
            service(&view(), &actor(1.into()), "api-6f.api.shop.kind")
                .unwrap_err()
                .status,
            404
        );
    }

    #[test]
    fn a_forward_is_found_in_every_form() {
        let canonical = format!("api.shop.{ARN}.api-6f.9090");
        assert_eq!(keys(&canonical, 1.into()), [format!("1:{canonical}")]);
        let both = ["1:api.shop.kind.api-6f.80", "1:api.shop.kind.api-6f.9090"];
        for key in ["api-6f.shop.kind", "api-6f.api.shop.kind", "api.shop.kind"] {
            assert_eq!(keys(key, 1.into()), both, "{key}");
        }
        assert!(
            keys("api.shop.kin", 1.into()).is_empty()
                && keys("api.shop.kind.api-6f.81", 1.into()).is_empty()
        );
    }

    #[test]
    fn a_headless_service_and_its_pods_are_told_apart() {
        let first = |key: &str| keys(key, 1.into()).into_iter().next().unwrap();
        for key in ["db.shop.kind.db-0.80", "db-0.db.shop.kind.db-0.80"] {
            assert_eq!(keys(key, 1.into()), [format!("1:{key}")]);
        }
        // ServiceFilter the service leads to another pod, this has always been the pod's.
        let other = keys("db.shop.kind.db-1.80", 1.into());
        assert_eq!(other, ["1:db-1.db.shop.kind.db-1.80"]);
        assert_eq!(keys("db.shop.kind", 1.into()).len(), 6);
        assert_eq!(first("db.shop.kind"), "1:db.shop.kind.db-0.80");
        for key in ["db-0.db.shop.kind", "db-0.shop.kind"] {
            assert_eq!(keys(key, 1.into()).len(), 4);
            assert_eq!(first(key), "1:db-0.db.shop.kind.db-0.80");
        }
    }

    #[test]
    fn nobody_finds_what_is_another_users() {
        assert_eq!(
            keys("api.shop.kind", 2.into())[0],
            "2:api.shop.kind.api-6f.80"
        );
        assert!(keys("db.shop.kind", 2.into()).is_empty());
        assert_eq!(
            service(&view(), &actor(2.into()), "db.shop.kind")
                .unwrap_err()
                .status,
            404
        );
        // Root finds everybody's, of one user at a time.
        assert_eq!(keys("api.shop.kind", 0.into()).len(), 2);
        assert_eq!(visible(&view(), &actor(0.into())).count(), 4);
        assert_eq!(visible(&view(), &actor(2.into())).count(), 1);
    }

    #[test]
    fn a_namespace_key_ends_with_its_context() {
        let key = namespace_key(3.into(), &format!("shop.{ARN}")).unwrap();
        assert_eq!(
            (key.namespace.as_str(), key.context.as_str()),
            ("shop", ARN)
        );
        for malformed in ["shop", "", ".kind", "shop.", "Shop.kind", "a_b.c"] {
            assert_eq!(
                namespace_key(3.into(), malformed).unwrap_err().status,
                400,
                "{malformed}"
            );
        }
    }
}
