//! Which services of a list, and which page of it.

use kubefwd_model as model;
use kubefwd_model::ServiceKey;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Number, text};

/// Selects services by place and name.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ServiceFilter {
    /// Only of this namespace.
    #[serde(default, deserialize_with = "text")]
    #[param(example = "shop")]
    namespace: Option<String>,
    /// Only of this context.
    #[serde(default, deserialize_with = "text")]
    #[param(example = "kind")]
    context: Option<String>,
    /// Only with this text in their key or one of their names.
    #[serde(default, deserialize_with = "text")]
    #[param(example = "api")]
    search: Option<String>,
}

/// Which part of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// How many at most; all without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100000, example = 100)]
    limit: Option<Number<1, 100_000>>,
    /// How many to skip.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 10000000, example = 0)]
    offset: Option<Number<0, 10_000_000>>,
}

// === impl ServiceFilter ===

impl ServiceFilter {
    /// Whether a service is of the namespace and context that are meant.
    pub(crate) fn holds(&self, key: &ServiceKey) -> bool {
        let is = |wanted: &Option<String>, name: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == name)
        };
        is(&self.namespace, key.namespace.as_str()) && is(&self.context, key.context.as_str())
    }

    /// Whether the text that is looked for is in the key or a name of a service.
    pub(crate) fn finds(&self, service: &model::Service) -> bool {
        let mut names = service.hostnames.iter();
        self.search.is_none()
            || self.is_in(&service.key.to_string())
            || names.any(|name| self.is_in(name.as_str()))
    }

    /// Whether the text that is looked for is in this one; without one, it is in all.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let found = |search: &str| text.to_lowercase().contains(&search.to_lowercase());
        self.search.as_deref().is_none_or(found)
    }
}

// === impl Page ===

impl Page {
    /// The part that is meant.
    pub(crate) fn of<T>(&self, all: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
        all.into_iter()
            .skip(self.offset.map_or(0, Number::get))
            .take(self.limit.map_or(usize::MAX, Number::get))
    }
}
