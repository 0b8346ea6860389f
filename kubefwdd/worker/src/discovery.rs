//! Queries about a cluster that the daemon passes on from the user, answered with the user's own credentials.
//!
//! [`answer`] sends frames with answers to one [`Query`], with its id. The last one is marked; none is larger than the
//! channel takes.

use std::future::Future;
use std::time::Duration;

use kubefwd_model::{Failure, Reason, failure};
use kubefwd_proto::worker::v1::Query;
use kubefwd_proto::worker::v1::answer::Answer as Content;
use kubefwd_proto::worker::v1::from_worker::Frame;
use kubefwd_proto::worker::v1::query::Question;
use tokio::sync::mpsc;

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

/// For one request to the API server.
const LIMIT: Duration = Duration::from_secs(30);

/// Answers a question; pauses while there is no room for frames. A failure is an answer too.
pub async fn answer(clusters: &Clusters, query: Query, frames: mpsc::Sender<Frame>) {
    let answers = AnswerSender::new(query.id, frames);
    if let Err(Stop::Failed(failure)) = work(clusters, query, &answers).await {
        // Fails only if nobody is listening.
        let _ = answers.send(Content::Failure(failure.into()), true).await;
    }
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

/// Many users may use a namespace without seeing the object: being forbidden to look does not mean that it is missing.
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
