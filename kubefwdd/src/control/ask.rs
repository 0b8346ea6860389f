//! Questions to the cluster, passed to the caller's own worker and answered with the caller's own rights.

use std::time::Duration;

use kubefwd_model::{Failure, Reason, Uid};
use kubefwd_proto::worker::v1::{self as wire, answer::Answer as Content, query::Question};

use kubefwd_core::state::Command;

use super::{ClusterAccess, Control};
use crate::workers::Answers;
use kubefwd_core::policy::{Actor, Denied, Verb};

/// Reading a kubeconfig takes no time, but a worker may have to be started first.
pub(super) const OFFLINE: Duration = Duration::from_secs(20);

/// The contexts of a kubeconfig.
pub type Contexts = wire::ListContextsAnswer;

impl Control {
    /// Asks the caller's worker.
    ///
    /// # Errors
    /// When the caller may not, or there is no worker to be had.
    pub async fn ask(
        &self,
        actor: &Actor,
        access: &ClusterAccess,
        question: Question,
    ) -> Result<Answers, Failure> {
        let Some(uid) = actor.uid() else {
            return Err(super::denied(Denied::Unknown {
                verb: Verb::AskCluster,
            }));
        };
        self.authorize(actor, Verb::AskCluster, Some(uid))?;
        self.ask_worker(uid, access, question).await
    }

    /// The contexts of the caller's kubeconfig.
    ///
    /// # Errors
    /// When the caller may not, or the kubeconfig cannot be read; why.
    pub async fn contexts(
        &self,
        actor: &Actor,
        access: &ClusterAccess,
    ) -> Result<Contexts, Failure> {
        let question = Question::Contexts(wire::ListContextsQuery {});
        match self
            .ask(actor, access, question)
            .await?
            .only_offline(OFFLINE)
            .await?
        {
            Content::Contexts(contexts) => Ok(contexts),
            _ => Err(Failure::new(
                Reason::Internal,
                "unexpected answer from the worker",
            )),
        }
    }

    pub(super) async fn ask_worker(
        &self,
        uid: Uid,
        access: &ClusterAccess,
        question: Question,
    ) -> Result<Answers, Failure> {
        let ClusterAccess {
            context,
            kubeconfig,
            environment,
        } = access.clone();
        let environment = environment.map(kubefwd_proto::environment::filter);
        if environment.is_some() {
            let received = Command::EnvironmentReceived { uid };
            let told = self.shared.store.apply(received);
            told.await.map_err(super::stopping)?;
        }
        self.shared
            .workers
            .ask(uid, environment, context, kubeconfig, question)
            .await
    }
}
