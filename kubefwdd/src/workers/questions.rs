//! Questions to a worker that are open, and the answers that wait for their askers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kubefwd_model::{Failure, Reason};
use kubefwd_proto::worker::v1::{self as wire, answer::Answer as Content};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{User, encode, limits};
use kubefwd_model::text::clean;

/// The questions that one worker has not answered in full.
pub(super) struct Questions {
    open: Mutex<Open>,
    /// KiB of answers that may still wait for their askers.
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Open {
    next: u64,
    askers: HashMap<u64, mpsc::Sender<Waiting>>,
}

/// An answer that its asker has not taken yet, and what it takes of [`limits::ANSWERS_KIB`].
struct Waiting {
    answer: Result<Content, Failure>,
    _place: Option<OwnedSemaphorePermit>,
}

/// The answers to one question, as they come. Dropping it cancels the question.
pub struct Answers {
    id: u64,
    user: Arc<User>,
    answers: mpsc::Receiver<Waiting>,
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
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.askers.len() >= limits::QUESTIONS {
            let message = format!(
                "{} queries to the cluster are already pending",
                limits::QUESTIONS
            );
            return Err(Failure::new(Reason::LimitExceeded, message).hint("try again in a moment"));
        }
        open.next += 1;
        let id = open.next;
        let (sender, answers) = mpsc::channel(64);
        open.askers.insert(id, sender);
        Ok((id, Answers { id, user, answers }))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .askers
            .is_empty()
    }

    /// Passes an answer on; one that nobody waits for is dropped. An asker that does not keep up loses the question.
    pub(super) fn answer(&self, answer: wire::Answer) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(asker) = open.askers.get(&answer.id) else {
            return;
        };
        let kib = answer.encoded_len().div_ceil(1024).max(1);
        let content = match answer.answer {
            Some(Content::Failure(failure)) => {
                let mut failure = Failure::from(failure);
                failure.message = clean(&failure.message, limits::TEXT);
                failure.hint = clean(&failure.hint, limits::TEXT);
                Some(Err(failure))
            }
            other => other.map(Ok),
        };
        let lost = content.is_some_and(|answer| {
            let kib = u32::try_from(kib).unwrap_or(u32::MAX);
            let Ok(place) = self.room.clone().try_acquire_many_owned(kib) else {
                return true;
            };
            let waiting = Waiting {
                answer,
                _place: Some(place),
            };
            asker.try_send(waiting).is_err()
        });
        if answer.last || lost {
            open.askers.remove(&answer.id);
        }
    }

    /// The worker ended: every open question fails.
    pub(super) fn fail_all(&self, why: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, asker) in open.askers.drain() {
            let message = format!("the worker exited during the query: {why}");
            let failure = Failure::new(Reason::WorkerUnavailable, message);
            let failure = failure.hint("it is being restarted; try again in a moment");
            let _ = asker.try_send(Waiting {
                answer: Err(failure),
                _place: None,
            });
        }
    }

    fn close(&self, id: u64) -> bool {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .askers
            .remove(&id)
            .is_some()
    }
}

// === impl Answers ===

impl Answers {
    /// The next part of the answer; `None` after the last.
    ///
    /// # Errors
    /// What the worker could not do, or that it ended.
    pub async fn next(&mut self) -> Option<Result<Content, Failure>> {
        self.answers.recv().await.map(|waiting| waiting.answer)
    }

    /// The only answer.
    ///
    /// # Errors
    /// What the worker could not do, that it ended, or that it did not answer within `limit`.
    pub async fn only(self, limit: Duration) -> Result<Content, Failure> {
        self.first(limit, || {
            let message = format!("the cluster did not answer within {} s", limit.as_secs());
            Failure::new(Reason::Timeout, message)
                .hint("check the network, the VPN and the credential plugin of the context")
        })
        .await
    }

    /// The same for a question that the worker answers without a cluster.
    ///
    /// # Errors
    /// As [`Answers::only`].
    pub async fn only_offline(self, limit: Duration) -> Result<Content, Failure> {
        self.first(limit, || {
            let message = format!(
                "your worker did not read the kubeconfig within {} s",
                limit.as_secs()
            );
            Failure::new(Reason::Timeout, message).hint(
                "see that its files can be read (a network file system may hang), or kill the process kubefwd-worker: it will be restarted",
            )
        })
        .await
    }

    async fn first(
        mut self,
        limit: Duration,
        too_late: impl FnOnce() -> Failure,
    ) -> Result<Content, Failure> {
        match tokio::time::timeout(limit, self.next()).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(Failure::new(Reason::Internal, "the worker gave no answer")),
            Err(_) => Err(too_late()),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if self.user.questions.close(self.id) {
            self.user.send(encode::cancel_query(self.id).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    fn user() -> Arc<User> {
        Arc::new(User {
            uid: 1.into(),
            wanted: watch::Sender::new(false),
            environment: Mutex::default(),
            queue: Mutex::default(),
            questions: Questions::default(),
            start_error: watch::Sender::new(None),
        })
    }

    fn part(id: u64, kib: usize) -> wire::Answer {
        let logs = wire::PodLogsAnswer {
            lines: vec!["x".repeat(kib * 1024 - 512)],
            ..wire::PodLogsAnswer::default()
        };
        wire::Answer {
            id,
            last: false,
            answer: Some(Content::Logs(logs)),
        }
    }

    #[tokio::test]
    async fn answers_that_nobody_takes_are_kept_to_a_bound() {
        let user = user();
        let (id, mut slow) = user.questions.open(user.clone()).unwrap();
        for _ in 0..64 {
            user.questions.answer(part(id, 1024));
        }
        assert!(user.questions.is_empty(), "the question is lost");
        let mut kept = 0;
        while let Some(Ok(_)) = slow.next().await {
            kept += 1;
        }
        assert_eq!(kept * 1024, limits::ANSWERS_KIB);
        // What was taken makes room for others.
        let (id, mut quick) = user.questions.open(user.clone()).unwrap();
        for _ in 0..64 {
            user.questions.answer(part(id, 1024));
            assert!(matches!(quick.next().await, Some(Ok(_))));
        }
    }
}
