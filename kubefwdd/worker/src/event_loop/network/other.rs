//! Systems without network events.

/// Never reports anything.
pub(crate) struct Network;

impl Network {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) async fn changed(&mut self) {
        std::future::pending().await
    }

    pub(crate) fn forget(&mut self) {}
}
