//! Where answers go, in frames that the channel takes.

use kubefwd_model::Failure;
use kubefwd_proto::worker::v1::Answer;
use kubefwd_proto::worker::v1::answer::Answer as Content;
use prost::Message;
use tokio::sync::mpsc;

/// How much of a frame items may fill, bytes. What one item can be at most (see `pod`) still fits on top.
const FILL: usize = 512 * 1024;

/// Why work on a question ends before its end.
pub(super) enum Stop {
    Failed(Failure),
    /// Nobody listens any more.
    Gone,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The way to whoever asked.
pub(super) struct Outlet {
    id: u64,
    sender: mpsc::Sender<Answer>,
}

impl Outlet {
    pub(super) fn new(id: u64, sender: mpsc::Sender<Answer>) -> Self {
        Self { id, sender }
    }

    /// Sends one answer; waits while the asker is slow.
    pub(super) async fn send(&self, content: Content, last: bool) -> Result<(), Stop> {
        let answer = Answer {
            id: self.id,
            last,
            answer: Some(content),
        };
        self.sender.send(answer).await.map_err(|_| Stop::Gone)
    }

    /// Sends items in as many answers as they need; none still makes one answer.
    pub(super) async fn send_items<T: Message>(
        &self,
        items: Vec<T>,
        last: bool,
        wrap: impl Fn(Vec<T>) -> Content,
    ) -> Result<(), Stop> {
        let mut chunks = chunks(items).into_iter().peekable();
        while let Some(chunk) = chunks.next() {
            let is_last = last && chunks.peek().is_none();
            self.send(wrap(chunk), is_last).await?;
        }
        Ok(())
    }
}

fn chunks<T: Message>(items: Vec<T>) -> Vec<Vec<T>> {
    let mut chunks = vec![Vec::new()];
    let mut filled = 0;
    for item in items {
        let size = item.encoded_len();
        if filled + size > FILL && filled > 0 {
            chunks.push(Vec::new());
            filled = 0;
        }
        filled += size;
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(item);
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use kubefwd_proto::channel::MAX_FRAME;
    use kubefwd_proto::worker::v1::{KubeNamespace, ListNamespacesAnswer};

    use super::*;

    fn namespace(size: usize) -> KubeNamespace {
        KubeNamespace {
            name: "n".repeat(size),
            status: String::new(),
        }
    }

    #[tokio::test]
    async fn long_lists_come_in_several_frames_with_one_end() {
        let (sender, mut receiver) = mpsc::channel(64);
        let outlet = Outlet::new(7, sender);
        let items = (0..40).map(|_| namespace(100_000)).collect();
        let wrap = |namespaces| Content::Namespaces(ListNamespacesAnswer { namespaces });
        assert!(outlet.send_items(items, true, wrap).await.is_ok());
        drop(outlet);
        let mut lasts = Vec::new();
        let mut total = 0;
        while let Some(answer) = receiver.recv().await {
            assert!(answer.encoded_len() < MAX_FRAME && answer.id == 7);
            let Some(Content::Namespaces(list)) = &answer.answer else {
                panic!("another answer");
            };
            total += list.namespaces.len();
            lasts.push(answer.last);
        }
        assert_eq!(total, 40);
        assert_eq!(lasts.iter().filter(|last| **last).count(), 1);
        assert_eq!(lasts.last(), Some(&true));
    }

    #[test]
    fn no_items_are_one_empty_answer() {
        assert_eq!(chunks::<KubeNamespace>(Vec::new()), [Vec::new()]);
        assert_eq!(chunks(vec![namespace(MAX_FRAME)]).len(), 1);
    }
}
