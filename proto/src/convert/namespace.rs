//! Namespaces and their sums.

use kubefwd_model::entry::Totals;
use kubefwd_model::{
    ContextName, Counts, Failure, Namespace, NamespaceKey, NamespaceName, NamespaceStatus, Uid,
};

use super::{Malformed, timestamp, to_time, words};
use crate::control::v1 as pb;

words!(
    pb::NamespaceState,
    NamespaceStatus,
    Connecting,
    Watching,
    Failed
);

/// Without its sums and the user's name, which the caller adds.
impl From<&Namespace> for pb::Namespace {
    fn from(namespace: &Namespace) -> Self {
        let key = &namespace.key;
        Self {
            key: key.to_string(),
            namespace: key.namespace.to_string(),
            context: key.context.to_string(),
            uid: key.uid.get(),
            state: pb::NamespaceState::from(namespace.status).into(),
            failure: namespace.failure.as_deref().cloned().map(Into::into),
            selection: namespace.selection.clone().map(Into::into),
            added_at: Some(timestamp(namespace.started_at)),
            failed_since: namespace.failed_since.map(timestamp),
            attached: namespace.attached,
            notes: namespace.notes.clone(),
            ..Self::default()
        }
    }
}

impl TryFrom<&pb::Namespace> for Namespace {
    type Error = Malformed;

    fn try_from(namespace: &pb::Namespace) -> Result<Self, Malformed> {
        let failure = namespace.failure.clone().map(Failure::from);
        Ok(Self {
            key: NamespaceKey {
                uid: Uid::new(namespace.uid),
                context: ContextName::parse(&namespace.context)?,
                namespace: NamespaceName::parse(&namespace.namespace)?,
            },
            status: namespace.state().try_into()?,
            selection: namespace.selection.clone().map(Into::into),
            started_at: to_time(&namespace.added_at).unwrap_or_default(),
            attached: namespace.attached,
            failure: failure.map(Box::new),
            failed_since: to_time(&namespace.failed_since),
            notes: namespace.notes.clone(),
        })
    }
}

impl From<Counts> for pb::Counts {
    fn from(counts: Counts) -> Self {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            namespaces: number(counts.namespaces),
            services: number(counts.services),
            services_active: number(counts.services_active),
            forwards: number(counts.forwards),
            forwards_active: number(counts.forwards_active),
            errors: number(counts.errors),
            bytes_in: counts.totals.bytes_in,
            bytes_out: counts.totals.bytes_out,
        }
    }
}

impl From<pb::Counts> for Counts {
    fn from(counts: pb::Counts) -> Self {
        let number = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            namespaces: number(counts.namespaces),
            services: number(counts.services),
            services_active: number(counts.services_active),
            forwards: number(counts.forwards),
            forwards_active: number(counts.forwards_active),
            errors: number(counts.errors),
            totals: Totals {
                bytes_in: counts.bytes_in,
                bytes_out: counts.bytes_out,
            },
        }
    }
}
