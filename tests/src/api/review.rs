//! SelfSubjectAccessReview and SelfSubjectRulesReview.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::protobuf;
use super::respond::{Answer, json as answer_json, status};
use super::uri::ResourcePath;
use crate::auth::Identity;
use crate::json;
use crate::state::State;
use crate::status::Status;

/// Answers a review of the caller's own rights.
pub(crate) fn answer(state: &State, who: &Identity, target: &ResourcePath, body: &[u8]) -> Answer {
    let spec = match serde_json::from_slice::<Value>(body) {
        Ok(review) => review["spec"].clone(),
        Err(_) => match protobuf::review_spec(body) {
            Some(spec) => spec,
            None => {
                return status(&Status::bad_request(
                    "the body is neither JSON nor a Kubernetes protobuf message",
                ));
            }
        },
    };
    if target.resource == "selfsubjectrulesreviews" {
        return rules(state, who, &spec);
    }
    let allowed = if let Some(attributes) = spec["resourceAttributes"].as_object() {
        let text = |field: &str| {
            attributes
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let mut resource = text("resource").to_owned();
        if !text("subresource").is_empty() {
            resource = format!("{resource}/{}", text("subresource"));
        }
        state
            .access
            .allows(who, text("verb"), &resource, text("namespace"))
    } else if let Some(path) = spec["nonResourceAttributes"]["path"].as_str() {
        state.access.allows_path(who, path)
    } else {
        return status(&Status::bad_request(
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ));
    };
    let mut value = Map::new();
    value.insert("kind".into(), json!("SelfSubjectAccessReview"));
    value.insert("apiVersion".into(), json!("authorization.k8s.io/v1"));
    value.insert("metadata".into(), json!({}));
    value.insert("spec".into(), spec);
    value.insert("status".into(), json!({"allowed": allowed}));
    answer_json(StatusCode::CREATED, json::compact(&value))
}

/// The rules themselves, as `kubectl auth can-i --list` shows them.
fn rules(state: &State, who: &Identity, spec: &Value) -> Answer {
    let namespace = spec["namespace"].as_str().unwrap_or_default();
    let rules = state.access.rules_of(who, namespace);
    let rules: Vec<Value> = rules
        .into_iter()
        .map(|(verbs, resources)| json!({"verbs": verbs, "apiGroups": ["*"], "resources": resources}))
        .collect();
    let value = json!({
        "kind": "SelfSubjectRulesReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": {},
        "status": {"resourceRules": rules, "nonResourceRules": [], "incomplete": false},
    });
    answer_json(StatusCode::CREATED, json::compact(&value))
}
