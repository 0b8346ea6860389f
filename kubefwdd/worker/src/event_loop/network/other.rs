//! Systems without network events.

pub(super) struct Network;

impl Network {
    pub(super) fn new() -> Self {
        Self
    }

    pub(super) async fn changed(&mut self) {
        std::future::pending().await
    }

    pub(super) fn forget(&mut self) {}
}
