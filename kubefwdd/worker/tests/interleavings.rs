//! The thread that accepts connections and the reader of its queue, with every interleaving.
//!
//! The source is the worker's own. Only `sync` is different: [loom](https://docs.rs/loom) runs the model again and again, and
//! each time lets the threads meet in another way, old values that a processor may still show included.

#[path = "../src/accept/stall.rs"]
mod stall;

/// Loom's types in place of those that the worker uses.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
}

use std::sync::Arc;

use loom::sync::Notify;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use tokio::sync::mpsc::error::TrySendError;

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

/// Runs a model in all interleavings in which no thread is interrupted more than a few times.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
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
