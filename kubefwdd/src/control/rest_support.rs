//! What only REST shows.

use kubefwd_model::Failure;

use super::{Control, stopping};

impl Control {
    /// Where addresses come from, as `base/prefix`.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub async fn address_range(&self) -> Result<String, Failure> {
        let read = self
            .shared
            .owner
            .read(|state| state.addresses().range().to_string());
        read.await.map_err(stopping)
    }
}
