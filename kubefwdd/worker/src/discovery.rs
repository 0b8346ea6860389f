//! Queries about a cluster that the daemon passes on from the user, answered with the user's own credentials.
//!
//! [`answer`] turns one [`Query`] into a stream of [`Answer`]s with its id. The last one is marked; none is larger than the
//! channel takes. Dropping the stream ends the work on it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use kubefwd_model::{Failure, Reason, failure};
use kubefwd_proto::worker::v1::answer::Answer as Content;
use kubefwd_proto::worker::v1::query::Question;
use kubefwd_proto::worker::v1::{Answer, Query};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::{Cluster, Clusters, classify};
use sender::{AnswerSender, Stop};

mod check;
mod endpoints;
mod events;
mod lists;
mod logs;
mod pod;
mod pod_status;
mod pods;
mod sender;

/// Answers that wait to be sent: work on a question pauses while its asker does not read.
const WAITING: usize = 4;
/// For one request to the API server.
const LIMIT: Duration = Duration::from_secs(30);

/// Answers a question. Needs a tokio runtime; must not be called while it shuts down.
///
/// A failure is an answer too. The stream ends after the answer that says `last`.
pub fn answer(clusters: Arc<Clusters>, query: Query) -> impl Stream<Item = Answer> + Send + Unpin {
    let (sender, mut receiver) = mpsc::channel(WAITING);
    let work = tokio::spawn(async move {
        let answers = AnswerSender::new(query.id, sender);
        if let Err(Stop::Failed(failure)) = work(&clusters, query, &answers).await {
            // Fails only if nobody is listening.
            let _ = answers.send(Content::Failure(failure.into()), true).await;
        }
    });
    let work = AbortOnDropHandle::new(work);
    stream::poll_fn(move |cx| {
        // Ends with the stream.
        let _ = &work;
        receiver.poll_recv(cx)
    })
}

async fn work(clusters: &Clusters, query: Query, answers: &AnswerSender) -> Result<(), Stop> {
    let files = &query.kubeconfig;
    let question = query.question.ok_or_else(|| {
        failure!(Unsupported, "this worker does not support the query")
            .hint("install the same version of kubefwdd and kubefwd-worker")
    })?;
    let cluster = async || clusters.get(&query.context, files).await;
    match question {
        // The only one that needs no context: answered even if the named one does not exist.
        Question::Contexts(_) => lists::contexts(clusters, files, answers).await,
        Question::Check(question) => check::check(&*cluster().await?, question, answers).await,
        Question::Namespaces(_) => lists::namespaces(&*cluster().await?, answers).await,
        Question::Services(question) => {
            lists::services(&*cluster().await?, question, answers).await
        }
        Question::Pods(question) => pods::pods(&*cluster().await?, question, answers).await,
        Question::Logs(question) => logs::logs(&*cluster().await?, question, answers).await,
        Question::Events(question) => events::events(&*cluster().await?, question, answers).await,
        Question::Endpoints(question) => {
            endpoints::endpoints(&*cluster().await?, question, answers).await
        }
    }
}

/// Gets the credentials first, so that the time a plugin takes does not count against the API server.
async fn log_in(cluster: &Cluster) -> Result<(), Failure> {
    let source = &cluster.api_server.credentials;
    source.credentials(None).await.map(drop)
}

/// One request, with its error explained.
async fn ask<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(LIMIT, request).await {
        Ok(answer) => answer.map_err(|error| classify(&error)),
        Err(_) => Err(failure!(
            Timeout,
            "the API server did not answer within {} s",
            LIMIT.as_secs()
        )
        .hint("it may be overloaded; try again")),
    }
}

/// Many users may use a namespace and not see the object: it is not missing because they may not ask.
fn unless_forbidden<T>(answer: Result<T, Failure>) -> Result<(), Failure> {
    match answer {
        Err(failure) if failure.reason != Reason::ForbiddenByCluster => Err(failure),
        _ => Ok(()),
    }
}

/// Refuses invalid names before they become part of a path.
fn valid_name(what: &str, name: &str) -> Result<(), Failure> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if !name.is_empty() && name.len() <= 253 && name.chars().all(is_part) && !name.contains("..") {
        return Ok(());
    }
    Err(
        failure!(InvalidArgument, "{name:?} is not a valid name of a {what}")
            .hint("names consist of lower case letters, digits, `-` and `.`"),
    )
}

#[cfg(test)]
mod tests;
