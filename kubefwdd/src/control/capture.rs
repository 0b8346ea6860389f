//! Whether requests are looked for in the bytes of a service.

use kubefwd_core::policy::Actor;
use kubefwd_core::state::{Command, Reply};
use kubefwd_model::{Failure, Reason, ServiceKey, Uid};

use super::{Control, acting_for};

impl Control {
    /// Looks for requests in the bytes of a service, of the caller's or (root) of `owner`'s, or does not.
    ///
    /// # Errors
    /// When the caller may not, or there is no such service.
    pub(crate) async fn set_capture(
        &self,
        actor: &Actor,
        owner: Option<Uid>,
        key: String,
        on: bool,
    ) -> Result<ServiceKey, Failure> {
        let uid = acting_for(actor, owner)?;
        let service = key.clone();
        match self
            .change(Command::SetCapture { uid, service, on })
            .await?
        {
            Reply::Services(services) if services.len() == 1 => Ok(services[0].clone()),
            _ => Err(Failure::new(
                Reason::ServiceNotFound,
                format!("no service {key:?}"),
            )),
        }
    }
}
