//! Namespaces that are forwarded.

use kubefwd_model::entry::{Key, NamespaceEntry, NamespaceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extract::text;
use crate::wait::Wait;

/// The forwarded namespaces.
#[derive(Serialize, ToSchema)]
pub(crate) struct NamespaceList<'a> {
    /// By context and name.
    pub(crate) namespaces: Vec<NamespaceEntry<'a>>,
}

/// A namespace to forward.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddNamespace {
    /// Its name.
    #[schema(
        min_length = 1,
        max_length = 63,
        pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
    )]
    pub(crate) namespace: String,
    /// A context of your kubeconfig; default: the current one.
    #[serde(default, deserialize_with = "text")]
    #[schema(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$", max_length = 200)]
    pub(crate) context: Option<String>,
    /// Only services matching this label selector; `labelSelector` and `label_selector` are accepted too.
    #[serde(
        default,
        alias = "labelSelector",
        alias = "label_selector",
        deserialize_with = "text"
    )]
    #[schema(
        pattern = "^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?(=[A-Za-z0-9]{0,63})?)?$",
        max_length = 200
    )]
    pub(crate) selector: Option<String>,
    /// Only services matching this field selector.
    #[serde(default, alias = "field_selector", deserialize_with = "text")]
    #[schema(pattern = r"^(metadata\.name=[a-z0-9]{1,63})?$", max_length = 200)]
    pub(crate) field_selector: Option<String>,
    /// Only services whose name matches one of these globs.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Glob>>, example = json!(["api-*"]), max_items = 256)]
    pub(crate) include: Option<Vec<String>>,
    /// Skip services whose name matches one of these globs.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Glob>>, example = json!(["*-test"]), max_items = 256)]
    pub(crate) exclude: Option<Vec<String>>,
    /// Wait until all of its services are active: `true` for up to a minute, or a limit such as `"30s"` or a number of
    /// seconds.
    #[serde(default)]
    pub(crate) wait: Wait,
}

/// A pattern over names: `*` and `?` stand for any characters and any one.
#[derive(ToSchema)]
#[schema(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$", max_length = 200)]
#[expect(dead_code, reason = "only describes the items of a list")]
pub(crate) struct Glob(String);

/// A namespace that was added.
#[derive(Serialize, ToSchema)]
pub(crate) struct AddedNamespace<'a> {
    /// `namespace.context`
    pub(crate) key: String,
    #[serde(flatten)]
    pub(crate) id: NamespaceId<'a>,
    /// The keys of its services.
    pub(crate) services: Vec<Key<'a>>,
}
