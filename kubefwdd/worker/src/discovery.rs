//! Questions about a cluster that the daemon passes on from the user, who may see what their own credentials may see.
//!
//! [`answer`] turns one [`Query`] into a stream of [`Answer`]s with its id. The last one is marked; none is larger than the
//! channel takes. Dropping the stream ends the work on it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use kubefwd_model::{Failure, Reason};
use kubefwd_proto::worker::v1::answer::Answer as Content;
use kubefwd_proto::worker::v1::query::Question;
use kubefwd_proto::worker::v1::{Answer, ListContextsAnswer, Query};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::{Cluster, Clusters, classify};
use outlet::{Outlet, Stop};

mod check;
mod endpoints;
mod events;
mod lists;
mod logs;
mod outlet;
mod pod;
mod pod_status;
mod pods;

/// Answers that wait to be sent: the work on a question stops while its asker does not listen.
const WAITING: usize = 4;
/// For one request to the API server.
const LIMIT: Duration = Duration::from_secs(30);

/// The answers to one question.
pub struct Answers {
    receiver: mpsc::Receiver<Answer>,
    _work: AbortOnDropHandle<()>,
}

impl Stream for Answers {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        self.receiver.poll_recv(cx)
    }
}

/// Answers a question. Needs a tokio runtime; must not be called while it shuts down.
///
/// A failure is an answer too. The stream ends after the answer that says `last`.
pub fn answer(clusters: Arc<Clusters>, query: Query) -> Answers {
    let (sender, receiver) = mpsc::channel(WAITING);
    let work = tokio::spawn(async move {
        let outlet = Outlet::new(query.id, sender);
        if let Err(Stop::Failed(failure)) = work(&clusters, query, &outlet).await {
            // If nobody listens any more, nobody is to be told.
            let _ = outlet.send(Content::Failure(failure.into()), true).await;
        }
    });
    Answers {
        receiver,
        _work: AbortOnDropHandle::new(work),
    }
}

async fn work(clusters: &Clusters, query: Query, outlet: &Outlet) -> Result<(), Stop> {
    let files = &query.kubeconfig;
    let question = query.question.ok_or_else(|| {
        Failure::new(
            Reason::Unsupported,
            "this worker does not know the question",
        )
        .hint("install the same version of kubefwdd and kubefwd-worker")
    })?;
    let cluster = async || clusters.get(&query.context, files).await;
    match question {
        // The only one that needs no context, and so is answered where the named one does not exist.
        Question::Contexts(_) => contexts(clusters, files, outlet).await,
        Question::Check(question) => check::check(&*cluster().await?, question, outlet).await,
        Question::Namespaces(_) => lists::namespaces(&*cluster().await?, outlet).await,
        Question::Services(question) => lists::services(&*cluster().await?, question, outlet).await,
        Question::Pods(question) => pods::pods(&*cluster().await?, question, outlet).await,
        Question::Logs(question) => logs::logs(&*cluster().await?, question, outlet).await,
        Question::Events(question) => events::events(&*cluster().await?, question, outlet).await,
        Question::Endpoints(question) => {
            endpoints::endpoints(&*cluster().await?, question, outlet).await
        }
    }
}

async fn contexts(clusters: &Clusters, files: &[String], outlet: &Outlet) -> Result<(), Stop> {
    let (current_context, listed) = clusters.contexts(files).await?;
    let contexts = listed.into_iter().map(lists::context).collect();
    let wrap = |contexts| {
        Content::Contexts(ListContextsAnswer {
            current_context: current_context.clone(),
            contexts,
        })
    };
    outlet.send_items(contexts, true, wrap).await
}

/// Gets the credentials ready, so that what a plugin takes is not held against the API server.
async fn log_in(cluster: &Cluster) -> Result<(), Failure> {
    cluster
        .api_server()
        .credentials
        .credentials(None)
        .await
        .map(|_| ())
}

/// One request, with its error explained.
async fn ask<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(LIMIT, request).await {
        Ok(answer) => answer.map_err(|error| classify(&error)),
        Err(_) => Err(Failure::new(
            Reason::Timeout,
            format!("the API server did not answer within {} s", LIMIT.as_secs()),
        )
        .hint("it may be overloaded; try again")),
    }
}

/// Refuses names that are none before they become part of a path.
fn valid_name(what: &str, name: &str) -> Result<(), Failure> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if !name.is_empty() && name.len() <= 253 && name.chars().all(is_part) && !name.contains("..") {
        return Ok(());
    }
    Err(Failure::new(
        Reason::InvalidArgument,
        format!("{name:?} is no name of a {what}"),
    )
    .hint("names are lower case letters, digits, `-` and `.`"))
}

#[cfg(test)]
mod tests;
