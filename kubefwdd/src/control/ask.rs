//! Questions to the cluster, passed to the caller's own worker and answered with the caller's own rights.

use std::time::Duration;

use kubefwd_core::policy::{Actor, Verb};
use kubefwd_core::state::Command;
use kubefwd_model::discovery::Contexts;
use kubefwd_model::{Failure, Uid};
use kubefwd_proto::worker::v1::{self as wire, query::Question};

use super::{ClusterAccess, Control, acting_for};
use crate::workers::{Answers, Deadline};

/// Reading a kubeconfig takes no time, but a worker may have to be started first.
pub(super) const OFFLINE: Duration = Duration::from_secs(20);

impl Control {
    /// Asks the caller's worker.
    ///
    /// # Errors
    /// When the caller may not, or there is no worker to be had.
    pub(crate) async fn ask(
        &self,
        actor: &Actor,
        access: &ClusterAccess,
        question: Question,
    ) -> Result<Answers, Failure> {
        let uid = acting_for(actor, Verb::AskCluster, None)?;
        self.ask_worker(uid, access, question).await
    }

    /// The contexts of the caller's kubeconfig.
    ///
    /// # Errors
    /// When the caller may not, or the kubeconfig cannot be read; why.
    pub(crate) async fn contexts(
        &self,
        actor: &Actor,
        access: &ClusterAccess,
    ) -> Result<Contexts, Failure> {
        let question = Question::Contexts(wire::ListContextsQuery {});
        let answers = self.ask(actor, access, question).await?;
        let parts: Vec<Contexts> = answers.all(Deadline::Kubeconfig(OFFLINE)).await?;
        let merge = |mut all: Contexts, part: Contexts| {
            all.contexts.extend(part.contexts);
            all
        };
        Ok(parts.into_iter().reduce(merge).unwrap_or_default())
    }

    pub(super) async fn ask_worker(
        &self,
        uid: Uid,
        access: &ClusterAccess,
        question: Question,
    ) -> Result<Answers, Failure> {
        let environment = access.environment.clone();
        let environment = environment.map(kubefwd_proto::environment::filter);
        if environment.is_some() {
            let received = Command::EnvironmentReceived { uid };
            let told = self.store.apply(received);
            told.await.map_err(super::stopping)?;
        }
        let query = wire::Query {
            context: access.context.clone(),
            kubeconfig: access.kubeconfig.clone(),
            question: Some(question),
            ..Default::default()
        };
        self.workers.ask(uid, environment, query).await
    }
}
