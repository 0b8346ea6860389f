//! Questions that a worker has not answered in full, and the answers that wait for their askers.
//!
//! [`Answers::one`] takes an answer of one frame, [`Answers::all`] collects one of several. Only the frame that says `last`
//! ends an answer: any other end is a failure, and the worker is told to stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kubefwd_model::text::clean;
use kubefwd_model::{Failure, Reason, failure};
use kubefwd_proto::worker::v1::{self as wire, answer::Answer as Content, to_worker::Frame};
use parking_lot::Mutex;
use prost::Message as _;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{User, decode, limits};

/// The open questions of one worker.
pub(super) struct Questions {
    open: Mutex<Open>,
    /// KiB of answers that may still be kept for their askers.
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Open {
    next: u64,
    askers: HashMap<u64, mpsc::Sender<Waiting>>,
}

/// A frame that its asker has not taken yet.
struct Waiting {
    answer: Result<Content, Failure>,
    last: bool,
    /// Its share of `limits::ANSWERS_KIB`; `None` for a failure of the daemon's own, which ends the answer.
    permit: Option<OwnedSemaphorePermit>,
}

/// The answers to one question, as they come. Dropping it cancels the question.
pub(crate) struct Answers {
    id: u64,
    user: Arc<User>,
    answers: mpsc::Receiver<Waiting>,
    ended: bool,
}

/// How long to wait for one frame, and for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    /// The worker asks the cluster.
    Cluster(Duration),
    /// The worker only reads the kubeconfig.
    Kubeconfig(Duration),
}

// === impl Questions ===

impl Default for Questions {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
            room: Arc::new(Semaphore::new(limits::ANSWERS_KIB)),
        }
    }
}

impl Questions {
    pub(super) fn open(&self, user: Arc<User>) -> Result<(u64, Answers), Failure> {
        let mut open = self.open.lock();
        if open.askers.len() >= limits::QUESTIONS {
            let most = limits::QUESTIONS;
            return Err(failure!(
                LimitExceeded,
                "{most} queries to the cluster are already pending"
            )
            .hint("try again in a moment"));
        }
        open.next += 1;
        let id = open.next;
        // A frame takes at least one permit, and what breaks an answer off takes none.
        let (sender, answers) = mpsc::channel(limits::ANSWERS_KIB + 1);
        open.askers.insert(id, sender);
        drop(open);
        let answers = Answers {
            id,
            user,
            answers,
            ended: false,
        };
        Ok((id, answers))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.lock().askers.is_empty()
    }

    /// Passes a frame on; one that nobody waits for is dropped. False when there is no room for it: the question is closed.
    fn pass(&self, answer: wire::Answer) -> bool {
        let mut open = self.open.lock();
        let wire::Answer { id, last, .. } = answer;
        let Some(asker) = open.askers.get(&id) else {
            return true;
        };
        let kib = answer.encoded_len().div_ceil(1024).max(1);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let permit = self.room.clone().try_acquire_many_owned(kib).ok();
        let passed = permit.is_some();
        let last = last || !passed;
        let answer = match answer.answer {
            _ if !passed => Err(no_room()),
            Some(Content::Failure(failure)) => Err(decode::failure(failure)),
            Some(content) => Ok(content),
            None => Err(unexpected("it is empty")),
        };
        // It has room, and an asker who is gone has closed the question.
        let _ = asker.try_send(Waiting {
            answer,
            last,
            permit,
        });
        if last {
            open.askers.remove(&id);
        }
        passed
    }

    /// The worker ended: every open question fails.
    pub(super) fn fail_all(&self, why: &str) {
        for (_, asker) in self.open.lock().askers.drain() {
            let failure = failure!(
                WorkerUnavailable,
                "the worker exited during the query: {why}"
            );
            let _ = asker.try_send(Waiting {
                answer: Err(failure.hint("it is being restarted; try again in a moment")),
                last: true,
                permit: None,
            });
        }
    }

    fn close(&self, id: u64) -> bool {
        self.open.lock().askers.remove(&id).is_some()
    }
}

// === impl User ===

impl User {
    /// Passes a frame on to its asker; an answer that there is no room for is cancelled.
    pub(super) fn answer(&self, answer: wire::Answer) {
        let id = answer.id;
        if !self.questions.pass(answer) {
            self.send(cancel(id), None);
        }
    }
}

// === impl Answers ===

impl Answers {
    /// An answer of one frame.
    ///
    /// # Errors
    /// When the worker fails or ends, does not answer in time, or has more to say.
    pub(crate) async fn one(mut self, deadline: Deadline) -> Result<Content, Failure> {
        let waiting = self.in_time(deadline).await?;
        let content = waiting.answer?;
        match waiting.last {
            true => Ok(content),
            false => Err(unexpected("it has several parts")),
        }
    }

    /// The parts of an answer, when all have come. Each is decoded at once; until then all count as waiting, so that the
    /// longest answer is of `limits::ANSWERS_KIB`.
    ///
    /// # Errors
    /// As [`Answers::one`]; also when a part is malformed, or the answer is too long.
    pub(crate) async fn all<T: DeserializeOwned>(
        mut self,
        deadline: Deadline,
    ) -> Result<Vec<T>, Failure> {
        let (mut parts, mut permits) = (Vec::new(), Vec::new());
        loop {
            let waiting = self.in_time(deadline).await?;
            parts.push(part(waiting.answer?)?);
            permits.push(waiting.permit);
            if waiting.last {
                return Ok(parts);
            }
        }
    }

    /// The next part, or the failure that ended the answer; `None` after the last.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Option<Result<T, Failure>> {
        if self.ended {
            return None;
        }
        let waiting = self.receive().await;
        Some(waiting.and_then(|waiting| part(waiting.answer?)))
    }

    async fn in_time(&mut self, deadline: Deadline) -> Result<Waiting, Failure> {
        let (Deadline::Cluster(limit) | Deadline::Kubeconfig(limit)) = deadline;
        let received = tokio::time::timeout(limit, self.receive()).await;
        received.unwrap_or_else(|_| Err(deadline.missed()))
    }

    async fn receive(&mut self) -> Result<Waiting, Failure> {
        let received = self.answers.recv().await;
        let last = |waiting: &Waiting| waiting.last || waiting.answer.is_err();
        self.ended = received.as_ref().is_none_or(last);
        received.ok_or_else(|| unexpected("it has no end"))
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if self.user.questions.close(self.id) {
            self.user.send(cancel(self.id), None);
        }
    }
}

// === impl Deadline ===

impl Deadline {
    fn missed(self) -> Failure {
        let (message, hint) = match self {
            Self::Cluster(limit) => (
                format!("the cluster did not answer within {} s", limit.as_secs()),
                "check the network, the VPN and the credential plugin of the context",
            ),
            Self::Kubeconfig(limit) => (
                format!(
                    "your worker did not read the kubeconfig within {} s",
                    limit.as_secs()
                ),
                "see that its files can be read (a network file system may hang), or kill the process kubefwd-worker: it will be restarted",
            ),
        };
        Failure::new(Reason::Timeout, message).hint(hint)
    }
}

fn cancel(id: u64) -> Frame {
    Frame::CancelQuery(wire::CancelQuery { id })
}

fn part<T: DeserializeOwned>(content: Content) -> Result<T, Failure> {
    let Content::Json(json) = content else {
        return Err(unexpected("it is not JSON"));
    };
    serde_json::from_slice(&json).map_err(|error| unexpected(&error.to_string()))
}

fn unexpected(why: &str) -> Failure {
    let message = format!("unexpected answer from the worker: {why}");
    Failure::new(Reason::WorkerUnavailable, clean(&message, limits::TEXT))
        .hint("install kubefwdd and kubefwd-worker from the same package")
}

fn no_room() -> Failure {
    let mib = limits::ANSWERS_KIB / 1024;
    failure!(
        LimitExceeded,
        "more than {mib} MiB of answers from the cluster are waiting to be read"
    )
    .hint("ask for less at a time, for example with a selector")
}

#[cfg(test)]
mod tests;
