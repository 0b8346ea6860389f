//! The description of the interface (OpenAPI 3.1), made from the code's own types.

mod examples;

use bytes::Bytes;
use serde_json::{Value, json};
use utoipa::OpenApi;

use super::error::ErrorResponse;

/// A DNS label, as the names of namespaces and services are.
const LABEL: &str = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";
/// The usual name of a context; any character is allowed in it.
const CONTEXT: &str = "[A-Za-z0-9:@._/-]{1,200}";
/// Text without control characters.
const PRINTABLE: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$";

/// The document without its routes, which add themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "kubefwd",
        description = "Reach Kubernetes services under their own names on this machine.\n\n\
            Every response has the same envelope: `success`, `data`, `error`, `meta`. Field and parameter names are \
            camelCase; snake_case is accepted too.\n\n\
            No credentials are needed: the kernel tells the daemon which user is calling. Users see and change their own \
            forwards; members of the group `kubefwd` may use the daemon.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "This daemon")),
    components(schemas(ErrorResponse)),
    tags(
        (name = "Health & Info", description = "The daemon itself"),
        (name = "Services", description = "Forwarded services"),
        (name = "Forwards", description = "Listening ports"),
        (name = "Namespaces", description = "Forwarded namespaces"),
        (name = "Kubernetes Discovery", description = "Objects in the cluster, read with the caller's permissions"),
        (name = "Metrics", description = "Counters, rates and history"),
        (name = "Diagnostics", description = "Current problems and when they began"),
        (name = "Analysis", description = "Problems and suggested fixes, for programs"),
        (name = "History", description = "Past events, errors and reconnections"),
        (name = "Logs", description = "The daemon's log"),
        (name = "Events (SSE)", description = "A live stream of events"),
        (name = "HTTP Traffic", description = "Captured HTTP requests"),
        (name = "Names", description = "Names of forwarded services"),
    ),
)]
pub(crate) struct Description;

/// The document in its two forms.
#[derive(Debug)]
pub(crate) struct Documents {
    /// As JSON; shared by all responses.
    pub(crate) json: Bytes,
    /// As YAML.
    pub(crate) yaml: Bytes,
}

// === impl Documents ===

impl Documents {
    /// Writes the document, with an example for every answer and body.
    pub(crate) fn new(mut api: utoipa::openapi::OpenApi) -> Self {
        api.info.version = env!("CARGO_PKG_VERSION").to_owned();
        // Our own types are always valid JSON; an empty document would be noticed by every test.
        let mut document = serde_json::to_value(&api).unwrap_or_default();
        describe_operations(&mut document);
        examples::add(&mut document);
        let json = serde_json::to_string_pretty(&document).unwrap_or_default();
        let yaml = yaml_serde::to_string(&document).unwrap_or_default();
        Self {
            json: json.into(),
            yaml: yaml.into(),
        }
    }
}

/// Names each operation by its method and path, e.g. `get_v1_services_key_http`: unlike the names of our functions these
/// are unique, and stay the same whatever happens to the code. Says what the parameters that are names and keys look
/// like, for all routes alike.
fn describe_operations(document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else {
        return;
    };
    for (path, operations) in paths {
        let words = path
            .trim_start_matches("/api/")
            .replace(['{', '}'], "")
            .replace('/', "_");
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            operation["operationId"] = json!(format!("{method}_{words}"));
            let parameters = operation
                .get_mut("parameters")
                .and_then(Value::as_array_mut);
            for parameter in parameters.into_iter().flatten() {
                if let Some(pattern) = pattern(path, parameter) {
                    parameter["schema"]["pattern"] = json!(pattern);
                }
            }
        }
    }
}

/// What a parameter looks like, if it is a name or a key.
fn pattern(path: &str, parameter: &Value) -> Option<String> {
    match (parameter["in"].as_str()?, parameter["name"].as_str()?) {
        ("path", "key") if path.contains("/namespaces/") => Some(format!("^{LABEL}\\.{CONTEXT}$")),
        ("path", "key") => Some(format!("^{LABEL}\\.{LABEL}\\.{CONTEXT}$")),
        ("path", _) => Some(format!("^{LABEL}$")),
        ("query", "context") if path.contains("/kubernetes/") => Some(PRINTABLE.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn document() -> Value {
        let (_, api) = crate::router::described();
        serde_json::from_slice(&Documents::new(api).json).unwrap()
    }

    #[test]
    fn every_answer_is_typed_and_has_an_example() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut count = 0;
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let responses = operation["responses"].as_object().unwrap();
                assert!(
                    responses.keys().any(|status| status.starts_with('2')),
                    "{method} {path}"
                );
                for (status, response) in responses {
                    for (kind, media) in response["content"].as_object().unwrap() {
                        let at = format!("{method} {path} {status} {kind}");
                        assert!(media["schema"].is_object(), "{at} has no type");
                        assert!(!media["example"].is_null(), "{at} has no example");
                        count += 1;
                    }
                }
            }
        }
        assert!(count > 300, "{count}");
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let document = document();
        let mut seen = BTreeSet::new();
        for operations in document["paths"].as_object().unwrap().values() {
            for operation in operations.as_object().unwrap().values() {
                let id = operation["operationId"].as_str().unwrap().to_owned();
                assert!(seen.insert(id.clone()), "{id} twice");
            }
        }
    }

    #[test]
    fn references_lead_somewhere() {
        let text = serde_json::to_string(&document()).unwrap();
        let document = document();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(
                document["components"]["schemas"][name].is_object(),
                "{name}"
            );
        }
    }

    #[test]
    fn the_yaml_is_the_same_document() {
        let (_, api) = crate::router::described();
        let documents = Documents::new(api);
        let yaml: Value = yaml_serde::from_slice(&documents.yaml).unwrap();
        assert_eq!(
            yaml,
            serde_json::from_slice::<Value>(&documents.json).unwrap()
        );
    }
}
