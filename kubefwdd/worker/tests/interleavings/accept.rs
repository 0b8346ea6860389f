//! The thread that accepts, and the reader of its queue.

#[path = "../../src/accept/stall.rs"]
mod stall;

use std::sync::Arc;

use loom::sync::Notify;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use tokio::sync::mpsc::error::TrySendError;

use super::explore;
use stall::Stall;

/// A full queue, as far as its places go.
#[derive(Default)]
struct Queue {
    free: AtomicUsize,
}

impl Queue {
    fn place(&self) -> Result<(), TrySendError<()>> {
        if self.free.load(Ordering::Acquire) == 0 {
            return Err(TrySendError::Full(()));
        }
        self.free.fetch_sub(1, Ordering::AcqRel);
        Ok(())
    }
}

#[test]
fn the_thread_never_sleeps_while_there_is_room() {
    explore(|| {
        let shared = Arc::new((Queue::default(), Stall::default(), Notify::new()));
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (queue, stall, waker) = &*shared;
                for _ in 0..2 {
                    while stall.reserve(|| queue.place()).is_err() {
                        // A lost wake-up would be a deadlock here.
                        waker.wait();
                    }
                }
            }
        });
        let (queue, stall, waker) = &*shared;
        for _ in 0..2 {
            queue.free.fetch_add(1, Ordering::Release);
            if stall.end() {
                waker.notify();
            }
        }
        accepting.join().unwrap();
    });
}
