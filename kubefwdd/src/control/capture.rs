//! Whether requests are looked for in the bytes of a service.

use super::{Control, acting_for};
use kubefwd_core::policy::Actor;
use kubefwd_model::{Failure, ServiceKey, Uid};

impl Control {
    /// Looks for requests in the bytes of a service, of the caller's or (root) of `owner`'s, or does not.
    ///
    /// # Errors
    /// When the caller may not, or there is no such service.
    pub async fn set_capture(
        &self,
        actor: &Actor,
        owner: Option<Uid>,
        key: String,
        on: bool,
    ) -> Result<ServiceKey, Failure> {
        let uid = acting_for(actor, owner)?;
        self.change(move |state, _| state.set_capture(uid, &key, on))
            .await
    }
}
