//! Suffixes that root allows for names.

use kubefwd_core::policy::{self, Actor, Verb};
use kubefwd_core::state::{AllowedSuffix, Command};
use kubefwd_model::{Failure, HostName, failure};

use super::Control;

impl Control {
    /// Lets services have names within a suffix. Gives a warning where those could hide servers of this network.
    ///
    /// # Errors
    /// When the caller is not root, it is not a name, or nobody may ever have such names.
    pub(crate) async fn allow_suffix(
        &self,
        actor: &Actor,
        suffix: &str,
    ) -> Result<String, Failure> {
        let suffix = self.suffix(actor, suffix)?;
        let is_private = self.store.view().is_private(&suffix);
        let warning = format!("names within {suffix} can now hide servers of your network");
        self.change(Command::AllowSuffix(suffix)).await?;
        Ok(if is_private { warning } else { String::new() })
    }

    /// Takes a suffix back, with all names within it.
    ///
    /// # Errors
    /// When the caller is not root, or it was not allowed by a command.
    pub(crate) async fn deny_suffix(&self, actor: &Actor, suffix: &str) -> Result<(), Failure> {
        let suffix = self.suffix(actor, suffix)?;
        self.change(Command::DenySuffix(suffix)).await.map(drop)
    }

    /// What is allowed.
    ///
    /// # Errors
    /// When the caller may not.
    pub(crate) fn allowed_suffixes(&self, actor: &Actor) -> Result<Vec<AllowedSuffix>, Failure> {
        policy::authorize(actor, Verb::Observe, None)?;
        Ok(self.store.view().allowed_suffixes.to_vec())
    }

    fn suffix(&self, actor: &Actor, text: &str) -> Result<HostName, Failure> {
        policy::authorize(actor, Verb::Administer, None)?;
        let name = HostName::parse(text.trim_start_matches('.'));
        name.map_err(|error| failure!(InvalidArgument, "{error}").hint("give a suffix such as dev"))
    }
}
