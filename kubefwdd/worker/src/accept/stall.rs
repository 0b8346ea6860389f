//! How the thread that accepts waits for room in the queue, and is woken when there is some.

use tokio::sync::mpsc::error::TrySendError;

use crate::sync::{AtomicBool, Ordering};

/// Whether the thread waits.
#[derive(Default)]
pub(super) struct Stall(AtomicBool);

impl Stall {
    /// A place in the queue. If it is full, the reader sees that the thread waits.
    pub(super) fn reserve<P>(
        &self,
        mut place: impl FnMut() -> Result<P, TrySendError<()>>,
    ) -> Result<P, TrySendError<()>> {
        match place() {
            Err(TrySendError::Full(())) => {}
            result => return result,
        }
        // Not a store: either the reader sees the flag, or what it did before is seen here.
        self.0.swap(true, Ordering::AcqRel);
        // It may have made room before it could see the flag.
        place()
    }

    /// The reader has made room: whether the thread waits for it and has to be woken.
    pub(super) fn end(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}
