//! Wakes the task of a connection: which local sockets are ready, and what its handle signals.
//!
//! One task owns all sockets of a connection. Polling all of them on each wake-up would cost with their number, so each has
//! its own waker, which notes the socket's key before it wakes the task.

use std::sync::{Arc, PoisonError};
use std::task::{Wake, Waker};

use crate::sync::{AtomicBool, AtomicU8, AtomicWaker, Mutex, Ordering};

/// The keys that were woken, and the signals that were given, since they were last taken.
#[derive(Default)]
pub(super) struct ReadyList {
    keys: Mutex<Vec<u32>>,
    signals: AtomicU8,
    task: AtomicWaker,
}

impl ReadyList {
    /// Sets the task to wake.
    pub(super) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Signals the task: the bits are added to those that it has not taken yet.
    pub(super) fn signal(&self, signals: u8) {
        self.signals.fetch_or(signals, Ordering::Release);
        self.task.wake();
    }

    pub(super) fn take_signals(&self) -> u8 {
        self.signals.swap(0, Ordering::Acquire)
    }

    /// Moves the woken keys into `into`, which is empty.
    pub(super) fn take(&self, into: &mut Vec<u32>) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *keys, into);
    }

    /// The waker of one socket, and the handle that lets it be noted again.
    pub(super) fn waker(self: &Arc<Self>, key: u32) -> (Waker, Arc<Noted>) {
        let noted = Arc::new(Noted {
            key,
            noted: AtomicBool::new(false),
            list: Arc::clone(self),
        });
        (Waker::from(Arc::clone(&noted)), noted)
    }
}

/// Whether a socket's key is in the list.
pub(super) struct Noted {
    key: u32,
    noted: AtomicBool,
    list: Arc<ReadyList>,
}

impl Noted {
    /// To be called before the socket is polled, so that a wake-up during the poll is not lost.
    pub(super) fn clear(&self) {
        // Not a store: who was woken before must be seen with all that was done before that.
        self.noted.swap(false, Ordering::AcqRel);
    }
}

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.noted.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut keys = self
            .list
            .keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        keys.push(self.key);
        drop(keys);
        self.list.task.wake();
    }
}
