//! Namespaces that are forwarded.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::non_empty;
use crate::core::state::{NamespaceState, NamespaceView};
use crate::rest::extract::text;
use crate::rest::time::Time;
use crate::rest::wait::Wait;

use super::services::Summary;

/// A namespace that is forwarded.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Namespace)]
pub(crate) struct Ns {
    /// `namespace.context`
    #[schema(example = "shop.kind")]
    key: String,
    /// Its name.
    #[schema(example = "shop")]
    namespace: String,
    /// Its context.
    #[schema(example = "kind")]
    context: String,
    /// The number of the user who forwards it.
    #[schema(example = 1000)]
    owner: u32,
    /// Its services.
    #[schema(example = 3)]
    service_count: usize,
    /// Its services that are active or partly so.
    #[schema(example = 2)]
    active_count: usize,
    /// Its forwards in error, and its services in error that have none.
    #[schema(example = 0)]
    error_count: usize,
    /// Its services are known and watched.
    #[schema(example = true)]
    running: bool,
    /// Only services with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "tier=web")]
    label_selector: Option<String>,
    /// Only services with these fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "metadata.name=api")]
    field_selector: Option<String>,
    /// Only services whose name matches one of these globs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["api-*"]))]
    include: Vec<String>,
    /// No services whose name matches one of these globs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["*-test"]))]
    exclude: Vec<String>,
    /// When it was asked for.
    started_at: Time,
    /// Why it cannot be watched now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "permission denied: cannot list services in shop")]
    error: Option<String>,
    /// What to do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "ask the cluster's administrator for a role with this right")]
    hint: Option<String>,
    /// Since when it cannot be watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_since: Option<Time>,
    /// What works differently than usual.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["EndpointSlices may not be read: pods are found by selector"]))]
    notes: Vec<String>,
}

/// The namespaces that are forwarded.
#[derive(Serialize, ToSchema)]
pub(crate) struct NamespaceList {
    /// By context and name.
    pub(crate) namespaces: Vec<Ns>,
}

/// A namespace to forward.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddNamespace {
    /// Its name.
    #[schema(
        example = "staging",
        min_length = 1,
        max_length = 63,
        pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
    )]
    pub(crate) namespace: String,
    /// A context of your kubeconfig; without it the current one.
    #[serde(default, deserialize_with = "text")]
    #[schema(
        example = "minikube",
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
        max_length = 200
    )]
    pub(crate) context: Option<String>,
    /// Only services with these labels; `labelSelector` and `label_selector` are read too.
    #[serde(
        default,
        alias = "labelSelector",
        alias = "label_selector",
        deserialize_with = "text"
    )]
    #[schema(
        example = "tier=web",
        pattern = "^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?(=[A-Za-z0-9]{0,63})?)?$",
        max_length = 200
    )]
    pub(crate) selector: Option<String>,
    /// Only services with these fields.
    #[serde(default, alias = "field_selector", deserialize_with = "text")]
    #[schema(
        example = "metadata.name=api",
        pattern = r"^(metadata\.name=[a-z0-9]{1,63})?$",
        max_length = 200
    )]
    pub(crate) field_selector: Option<String>,
    /// Only services whose name matches one of these globs.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Glob>>, example = json!(["api-*"]), max_items = 256)]
    pub(crate) include: Option<Vec<String>>,
    /// No services whose name matches one of these globs.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Glob>>, example = json!(["*-test"]), max_items = 256)]
    pub(crate) exclude: Option<Vec<String>>,
    /// Answer when all of its services are active: `true` for up to a minute, or how long, e.g. `"30s"` or a number of
    /// seconds.
    #[serde(default)]
    pub(crate) wait: Wait,
}

/// A pattern over names: `*` and `?` stand for any characters and any one.
#[derive(ToSchema)]
#[schema(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$", max_length = 200)]
#[expect(dead_code, reason = "only describes what stands in a list")]
pub(crate) struct Glob(String);

/// A namespace that was added.
#[derive(Serialize, ToSchema)]
pub(crate) struct AddedNamespace {
    /// `namespace.context`
    #[schema(example = "staging.minikube")]
    pub(crate) key: String,
    /// Its name.
    #[schema(example = "staging")]
    pub(crate) namespace: String,
    /// Its context.
    #[schema(example = "minikube")]
    pub(crate) context: String,
    /// The keys of its services.
    #[schema(example = json!(["api.staging.minikube"]))]
    pub(crate) services: Vec<String>,
}

// === impl Ns ===

impl Ns {
    /// The namespace with the sums over its services.
    pub(crate) fn new(namespace: &NamespaceView, sums: &Summary) -> Self {
        let selection = namespace.selection.clone().unwrap_or_default();
        let (error, hint) = match &namespace.state {
            NamespaceState::Failed(problem) => {
                (non_empty(&problem.message), non_empty(&problem.hint))
            }
            NamespaceState::Connecting | NamespaceState::Watching => (None, None),
        };
        Self {
            key: namespace.key.to_string(),
            namespace: namespace.key.namespace.to_string(),
            context: namespace.key.context.to_string(),
            owner: namespace.key.uid,
            service_count: sums.total_services,
            active_count: sums.active_services,
            error_count: sums.error_count,
            running: namespace.state == NamespaceState::Watching,
            label_selector: non_empty(&selection.labels),
            field_selector: non_empty(&selection.fields),
            include: selection.include,
            exclude: selection.exclude,
            started_at: namespace.added_at.into(),
            error,
            hint,
            failed_since: namespace.failed_since.map(Time::from),
            notes: namespace.notes.clone(),
        }
    }
}
