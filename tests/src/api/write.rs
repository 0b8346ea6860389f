//! The few writes that tests and demos need: namespaces, services and pods are created and deleted as with `kubectl`.

use std::net::Ipv4Addr;
use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;

use super::respond::{Answer, json, status};
use super::uri::ResourcePath;
use crate::controller;
use crate::kinds::Kind;
use crate::spec::{Service, ServicePort, TargetPort};
use crate::state::State;
use crate::status::Status;
use crate::store::Key;

/// Creates a namespace or a service.
pub(crate) fn create(state: &State, kind: Kind, target: &ResourcePath, body: &[u8]) -> Answer {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return status(&Status::unsupported_media_type());
    };
    let Some(name) = value["metadata"]["name"].as_str() else {
        return status(&Status::bad_request("metadata.name is required"));
    };
    let namespace = target.namespace.clone().unwrap_or_default();
    let key = (namespace, name.to_owned());
    if state.store.get(kind, &key).is_some() {
        return status(&Status::already_exists(kind.group(), kind.plural(), name));
    }
    match kind {
        Kind::Namespace => controller::create_namespace(state, name),
        Kind::Service => {
            let parent = (String::new(), key.0.clone());
            if state.store.get(Kind::Namespace, &parent).is_none() {
                return status(&Status::not_found("", "namespaces", &key.0));
            }
            controller::put_service(state, &key.0, service(name, &value));
        }
        _ => return status(&Status::method_not_allowed()),
    }
    stored(state, kind, &key, StatusCode::CREATED)
}

/// Server-side apply of a service by its only owner, which is to create or to replace it.
pub(crate) fn apply(state: &State, kind: Kind, target: &ResourcePath, body: &[u8]) -> Answer {
    let (Kind::Service, Some(namespace), Some(name)) = (kind, &target.namespace, &target.name)
    else {
        return status(&Status::method_not_allowed());
    };
    // JSON, which kubectl sends, is YAML.
    let Ok(value) = yaml_serde::from_slice::<Value>(body) else {
        return status(&Status::unsupported_media_type());
    };
    let parent = (String::new(), namespace.clone());
    if state.store.get(Kind::Namespace, &parent).is_none() {
        return status(&Status::not_found("", "namespaces", namespace));
    }
    let key = (namespace.clone(), name.clone());
    let code = match state.store.get(kind, &key) {
        Some(_) => StatusCode::OK,
        None => StatusCode::CREATED,
    };
    controller::put_service(state, namespace, service(name, &value));
    stored(state, kind, &key, code)
}

fn service(name: &str, value: &Value) -> Service {
    let spec = &value["spec"];
    let mut service = Service::new(name).without_selector(std::iter::empty::<Ipv4Addr>());
    let labels = value["metadata"]["labels"].as_object();
    for (key, value) in labels.into_iter().flatten() {
        service = service.label(key, value.as_str().unwrap_or_default());
    }
    for (key, value) in spec["selector"].as_object().into_iter().flatten() {
        service
            .selector
            .insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
    }
    for port in spec["ports"].as_array().into_iter().flatten() {
        let number = |value: &Value| value.as_u64().and_then(|n| u16::try_from(n).ok());
        let Some(own) = number(&port["port"]) else {
            continue;
        };
        let mut built = match port["protocol"].as_str() {
            Some("UDP") => ServicePort::udp(own),
            _ => ServicePort::tcp(own),
        };
        if let Some(name) = port["name"].as_str() {
            built = built.name(name);
        }
        if let Some(target) = number(&port["targetPort"]) {
            built = built.target(target);
        } else if let Some(target) = port["targetPort"].as_str() {
            built = built.target(TargetPort::Name(target.to_owned()));
        }
        service = service.port(built);
    }
    if spec["clusterIP"].as_str() == Some("None") {
        service = service.headless();
    }
    if let Some(external) = spec["externalName"].as_str() {
        service = service.external_name(external);
    }
    service
}

/// Deletes a namespace, a service or a pod. A pod with a controller goes gracefully and is replaced.
pub(crate) fn delete(state: &Arc<State>, kind: Kind, target: &ResourcePath) -> Answer {
    let Some(name) = &target.name else {
        return status(&Status::method_not_allowed());
    };
    let key = (target.namespace.clone().unwrap_or_default(), name.clone());
    let last = stored(state, kind, &key, StatusCode::OK);
    if last.status() != StatusCode::OK {
        return last;
    }
    match kind {
        Kind::Namespace => controller::delete_namespace(state, name),
        Kind::Service => {
            controller::delete_service(state, &key);
        }
        Kind::Pod if state.world.is_owned(&key) => {
            let state = Arc::clone(state);
            tokio::spawn(async move { controller::replace_pod(&state, &key).await });
        }
        Kind::Pod => {
            controller::begin_deletion(state, &key);
            controller::end_process(state, &key);
            controller::remove_pod(state, &key);
        }
        _ => return status(&Status::method_not_allowed()),
    }
    last
}

fn stored(state: &State, kind: Kind, key: &Key, code: StatusCode) -> Answer {
    match state.store.get(kind, key) {
        Some(object) => {
            let mut out = Vec::new();
            object.write_full(kind, &mut out);
            json(code, out)
        }
        None => status(&Status::not_found(kind.group(), kind.plural(), &key.1)),
    }
}
