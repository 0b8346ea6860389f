//! Changing what is forwarded: removing, reopening tunnels, capturing requests.

use kubefwd_core::policy::{Actor, Verb};
use kubefwd_core::requests::Reconnect;
use kubefwd_core::state::{Command, Reply, Which};
use kubefwd_model::{
    Failure, ForwardStatus, NamespaceKey, Service, ServiceKey, ServiceStatus, Uid, failure,
};

use super::{Control, acting_for};

impl Control {
    /// Stops forwarding namespaces, of the caller or (root) of `owner`.
    ///
    /// # Errors
    /// When the caller may not, or there is none of that name.
    pub(crate) async fn remove_namespaces(
        &self,
        actor: &Actor,
        owner: Option<Uid>,
        which: Which,
    ) -> Result<Vec<NamespaceKey>, Failure> {
        let uid = acting_for(actor, Verb::Change, owner)?;
        match self
            .change(Command::RemoveNamespaces { uid, which })
            .await?
        {
            Reply::Namespaces(removed) => Ok(removed),
            _ => Ok(Vec::new()),
        }
    }

    /// Stops forwarding services, of the caller or (root) of `owner`.
    ///
    /// # Errors
    /// When the caller may not, or there is none of that name.
    pub(crate) async fn remove_services(
        &self,
        actor: &Actor,
        owner: Option<Uid>,
        which: Which,
    ) -> Result<Vec<ServiceKey>, Failure> {
        let uid = acting_for(actor, Verb::Change, owner)?;
        match self.change(Command::RemoveServices { uid, which }).await? {
            Reply::Services(removed) => Ok(removed),
            _ => Ok(Vec::new()),
        }
    }

    /// Closes tunnels so that they are reopened. Gives the services it was done for.
    ///
    /// # Errors
    /// When the caller may not, or a key is unknown.
    pub(crate) async fn reconnect(
        &self,
        actor: &Actor,
        owner: Option<Uid>,
        which: Reconnect,
    ) -> Result<Vec<ServiceKey>, Failure> {
        let uid = acting_for(actor, Verb::Change, owner)?;
        let services = self.services_of(uid, &which)?;
        self.reopen(uid, &services, false).await?;
        Ok(services)
    }

    /// Lists the cluster again for a service; with `force` its tunnels are reopened too.
    ///
    /// # Errors
    /// When the caller may not, or the key is unknown.
    pub(crate) async fn resync(
        &self,
        actor: &Actor,
        key: &ServiceKey,
        force: bool,
    ) -> Result<ServiceKey, Failure> {
        let uid = acting_for(actor, Verb::Change, Some(key.uid))?;
        let services = self.services_of(uid, &Reconnect::Keys(vec![key.to_string()]))?;
        self.workers.resync(uid, &services);
        if force {
            self.reopen(uid, &services, true).await?;
        }
        Ok(key.clone())
    }

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
        let uid = acting_for(actor, Verb::Change, owner)?;
        let service = key.clone();
        let set = Command::SetCapture { uid, service, on };
        match self.change(set).await? {
            Reply::Services(services) if services.len() == 1 => Ok(services[0].clone()),
            _ => Err(failure!(ServiceNotFound, "no service {key:?}")),
        }
    }

    async fn reopen(&self, uid: Uid, services: &[ServiceKey], resync: bool) -> Result<(), Failure> {
        self.workers.reconnect(uid, services, resync);
        // Ports that could not be listened on are part of what is tried again.
        let retried = self.store.apply(Command::RetryFailedPorts);
        retried.await.map_err(super::stopping)
    }

    fn services_of(&self, uid: Uid, which: &Reconnect) -> Result<Vec<ServiceKey>, Failure> {
        let view = self.store.view();
        let own = view
            .services
            .values()
            .filter(|service| service.key.uid == uid);
        match which {
            Reconnect::All => Ok(own.map(|service| service.key.clone()).collect()),
            Reconnect::Failed => {
                let failed = own.filter(|service| has_failed(service));
                Ok(failed.map(|service| service.key.clone()).collect())
            }
            Reconnect::Keys(keys) => {
                let named = |key: &String| {
                    let service = own.clone().find(|service| {
                        service.key.to_string() == *key
                            || service.forwards.iter().any(|forward| forward.key == *key)
                    });
                    Ok(service.ok_or_else(|| unknown(key))?.key.clone())
                };
                keys.iter().map(named).collect()
            }
        }
    }
}

fn has_failed(service: &Service) -> bool {
    let mut forwards = service.forwards.iter();
    service.status == ServiceStatus::Error
        || forwards.any(|forward| forward.status == ForwardStatus::Error)
}

fn unknown(key: &str) -> Failure {
    failure!(NotFound, "no service or forward has the key {key:?}")
        .hint("see `kubefwdctl svc ls` and `kubefwdctl fwd ls`")
}
