//! What every handler has.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;

use super::control::Control;
use super::identity::Identity;
use super::openapi::Documents;

/// What every handler has.
#[derive(Clone)]
pub(crate) struct ApiState {
    /// The daemon.
    pub(crate) control: Arc<dyn Control>,
    /// How callers over TCP are identified.
    pub(crate) identity: watch::Receiver<Arc<Identity>>,
    /// Describes all routes.
    pub(crate) describe: fn() -> OpenApi,
    pub(crate) documents: Arc<OnceLock<Documents>>,
    /// Cancelled when REST stops: streams end.
    pub(crate) stop: CancellationToken,
}

// === impl ApiState ===

impl ApiState {
    /// The description of the interface, made for whoever asks first.
    pub(crate) fn documents(&self) -> &Documents {
        self.documents.get_or_init(|| {
            let documents = Documents::new((self.describe)());
            self.control.release_freed_memory();
            documents
        })
    }
}
