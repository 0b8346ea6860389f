//! Sends the answers to one question, in frames that the channel takes.

use kubefwd_model::{Failure, failure};
use kubefwd_proto::channel::MAX_FRAME;
use kubefwd_proto::worker::v1::Answer;
use kubefwd_proto::worker::v1::answer::Answer as Content;
use kubefwd_proto::worker::v1::from_worker::Frame;
use serde::Serialize;
use tokio::sync::mpsc;

/// A list is split into parts of about this size, bytes.
const PART: usize = 512 * 1024;
/// No part is larger, bytes: leaves room for the rest of the frame.
const MAX_PART: usize = MAX_FRAME - 1024;

/// Why work on a question stops early.
pub(super) enum Stop {
    Failed(Failure),
    /// Nobody is listening.
    Gone,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Sends the answers to one question.
pub(super) struct AnswerSender {
    id: u64,
    frames: mpsc::Sender<Frame>,
}

impl AnswerSender {
    pub(super) fn new(id: u64, frames: mpsc::Sender<Frame>) -> Self {
        Self { id, frames }
    }

    /// Sends one answer; waits while the asker is slow.
    pub(super) async fn send(&self, content: Content, last: bool) -> Result<(), Stop> {
        let answer = Frame::Answer(Answer {
            id: self.id,
            last,
            answer: Some(content),
        });
        self.frames.send(answer).await.map_err(|_| Stop::Gone)
    }

    /// Sends one part of the answer.
    pub(super) async fn send_part(&self, part: &impl Serialize, last: bool) -> Result<(), Stop> {
        self.send(Content::Json(json(part)?), last).await
    }

    /// Sends a list in as many parts as it needs; an empty one is one part.
    pub(super) async fn send_list<T: Serialize>(
        &self,
        items: impl IntoIterator<Item = T>,
        last: bool,
    ) -> Result<(), Stop> {
        let mut part = vec![b'['];
        for item in items {
            let item = json(&item)?;
            if part.len() > 1 && part.len() + item.len() > PART {
                let full = std::mem::replace(&mut part, vec![b'[']);
                self.send_array(full, false).await?;
            }
            if part.len() > 1 {
                part.push(b',');
            }
            part.extend(item);
        }
        self.send_array(part, last).await
    }

    async fn send_array(&self, mut part: Vec<u8>, last: bool) -> Result<(), Stop> {
        part.push(b']');
        self.send(Content::Json(part), last).await
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    let json = serde_json::to_vec(value)
        .map_err(|error| failure!(Internal, "an answer cannot be written as JSON: {error}"))?;
    if json.len() > MAX_PART {
        return Err(failure!(
            LimitExceeded,
            "the cluster has an object of {} KiB, more than an answer may carry",
            json.len() / 1024
        )
        .hint("look at it with kubectl"));
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use kubefwd_model::Reason;

    use super::*;
    use crate::discovery::tests::collected;

    async fn sent(items: Vec<String>) -> Vec<Answer> {
        let (sender, receiver) = mpsc::channel(64);
        let sender = AnswerSender::new(7, sender);
        assert!(sender.send_list(items, true).await.is_ok());
        drop(sender);
        collected(receiver).await
    }

    fn items(answer: &Answer) -> Vec<String> {
        match &answer.answer {
            Some(Content::Json(json)) => serde_json::from_slice(json).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn long_lists_come_in_several_frames_with_one_end() {
        let names: Vec<String> = (0..40).map(|n| n.to_string().repeat(50_000)).collect();
        let answers = sent(names.clone()).await;
        assert!(answers.len() > 5);
        for answer in &answers {
            assert!(answer.encoded_len() < MAX_FRAME && answer.id == 7);
        }
        let all: Vec<String> = answers.iter().flat_map(items).collect();
        assert_eq!(all, names);
        let lasts: Vec<bool> = answers.iter().map(|answer| answer.last).collect();
        assert_eq!(lasts.iter().filter(|last| **last).count(), 1);
        assert_eq!(lasts.last(), Some(&true));
    }

    #[tokio::test]
    async fn an_empty_list_is_one_answer() {
        let answers = sent(Vec::new()).await;
        assert_eq!(answers.len(), 1);
        assert!(answers[0].last && items(&answers[0]).is_empty());
    }

    #[tokio::test]
    async fn what_fits_no_frame_is_a_failure() {
        let (sender, mut receiver) = mpsc::channel(1);
        let sender = AnswerSender::new(7, sender);
        let huge = "x".repeat(MAX_FRAME);
        let sent = sender.send_list([huge], true).await;
        assert!(
            matches!(sent, Err(Stop::Failed(failure)) if failure.reason == Reason::LimitExceeded)
        );
        drop(sender);
        assert!(receiver.recv().await.is_none());
    }
}
