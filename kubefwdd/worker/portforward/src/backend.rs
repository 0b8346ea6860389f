//! Where connections are forwarded to.

use futures_util::future::BoxFuture;

/// One port of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid: a later pod of the same name is another backend.
    pub pod_uid: String,
    /// The port inside the pod.
    pub port: u16,
}

/// The current backends of one forward.
pub trait Backends: Send + Sync {
    /// A ready backend whose pod uid is not in `tried`, the preferred one first.
    fn pick(&self, tried: &[String]) -> Option<Backend>;

    /// Whether there is a ready backend whose pod uid is not in `tried`; unlike `pick` this picks none.
    fn is_ready(&self, tried: &[String]) -> bool;

    /// Resolves once `pick` may answer differently than at the moment of this call.
    fn changed(&self) -> BoxFuture<'_, ()>;
}
