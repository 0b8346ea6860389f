//! Which local sockets of a connection have something to do.
//!
//! One task owns all sockets of a connection. Polling all of them on each wake-up would cost with their number, so each has
//! its own waker, which notes the socket's key before it wakes the task.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

/// The keys that were woken since they were last taken.
#[derive(Default)]
pub(super) struct ReadyList {
    keys: Mutex<Vec<u32>>,
    task: AtomicWaker,
}

impl ReadyList {
    /// Names the task that is to be woken.
    pub(super) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Wakes the task although no socket is ready.
    pub(super) fn wake_task(&self) {
        self.task.wake();
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
        self.noted.store(false, Ordering::SeqCst);
    }
}

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.noted.swap(true, Ordering::SeqCst) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_noted_once_until_it_is_cleared() {
        let list = Arc::new(ReadyList::default());
        let (waker, noted) = list.waker(7);
        let mut keys = Vec::new();
        waker.wake_by_ref();
        waker.wake_by_ref();
        list.take(&mut keys);
        assert_eq!(keys, [7]);
        keys.clear();
        waker.wake_by_ref();
        list.take(&mut keys);
        assert!(keys.is_empty(), "still noted");
        noted.clear();
        waker.wake_by_ref();
        list.take(&mut keys);
        assert_eq!(keys, [7]);
    }

    #[test]
    fn wakes_of_many_threads_are_all_seen() {
        let list = Arc::new(ReadyList::default());
        std::thread::scope(|scope| {
            for key in 0..4 {
                let (waker, noted) = list.waker(key);
                scope.spawn(move || {
                    for _ in 0..1000 {
                        waker.wake_by_ref();
                        noted.clear();
                    }
                    waker.wake_by_ref();
                });
            }
        });
        let mut keys = Vec::new();
        list.take(&mut keys);
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys, [0, 1, 2, 3]);
    }
}
