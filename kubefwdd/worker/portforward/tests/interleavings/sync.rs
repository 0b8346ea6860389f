//! Loom's types in the place of those that the worker uses.

use std::task::Waker;

pub(crate) use loom::sync::Mutex;
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed,
};

/// The same calls as those of `futures_util`.
#[derive(Default)]
pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

impl AtomicWaker {
    pub(crate) fn register(&self, waker: &Waker) {
        self.0.register_by_ref(waker);
    }

    pub(crate) fn wake(&self) {
        self.0.wake();
    }
}
