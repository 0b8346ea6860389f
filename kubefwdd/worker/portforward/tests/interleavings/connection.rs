//! The memory that all connections share, and how the task of one is woken.

#[path = "../../src/connection/backlog.rs"]
mod backlog;
#[path = "../../src/connection/ready.rs"]
mod ready;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::explore;
use backlog::{Backlog, Budget};
use ready::ReadyList;

#[test]
fn the_budget_gets_back_what_was_taken_or_dropped() {
    explore(|| {
        let budget = Arc::new(Budget::new(10));
        let mut backlog = Backlog::new(Arc::clone(&budget));
        backlog.push(b"0123456789");
        assert!(budget.is_spent());
        backlog.advance(4);
        assert!(!budget.is_spent());
        assert_eq!(backlog.bytes(), b"456789");
        drop(backlog);
        assert_eq!(budget.used(), 0);
    });
}

#[test]
fn streams_of_two_threads_take_and_give_back_the_same_budget() {
    explore(|| {
        let budget = Arc::new(Budget::new(10));
        let stream = |budget: &Arc<Budget>| {
            let mut backlog = Backlog::new(Arc::clone(budget));
            backlog.push(b"012345");
            assert!((6..=12).contains(&budget.used()));
            backlog.advance(4);
            backlog.push(b"6");
            assert_eq!(backlog.bytes(), b"456");
        };
        let other = thread::spawn({
            let budget = Arc::clone(&budget);
            move || stream(&budget)
        });
        stream(&budget);
        other.join().unwrap();
        assert_eq!(budget.used(), 0);
    });
}

#[test]
fn a_key_is_noted_once_until_it_is_cleared() {
    explore(|| {
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
    });
}

/// A socket that more and more bytes arrive at.
#[derive(Clone)]
struct Socket {
    bytes: Arc<AtomicUsize>,
    waker: Waker,
}

impl Socket {
    fn arrive(&self) {
        self.bytes.fetch_add(1, Ordering::Release);
        self.waker.wake_by_ref();
    }
}

#[test]
fn a_task_sees_all_that_arrives_at_its_sockets() {
    explore(|| {
        let list = Arc::new(ReadyList::default());
        let (sockets, noted): (Vec<_>, Vec<_>) = (0..2)
            .map(|key| {
                let (waker, noted) = list.waker(key);
                let bytes = Arc::default();
                (Socket { bytes, waker }, noted)
            })
            .unzip();
        let arriving: Vec<_> = sockets
            .iter()
            .zip([2, 1])
            .map(|(socket, count)| {
                let socket = socket.clone();
                thread::spawn(move || (0..count).for_each(|_| socket.arrive()))
            })
            .collect();
        // As the task of a connection does; if a wake-up got lost, it would wait for ever.
        let mut seen = [0, 0];
        block_on(poll_fn(|cx| {
            list.register(cx.waker());
            let mut keys = Vec::new();
            list.take(&mut keys);
            for key in keys {
                let key = key as usize;
                noted[key].clear();
                seen[key] = sockets[key].bytes.load(Ordering::Acquire);
            }
            match seen {
                [2, 1] => Poll::Ready(()),
                _ => Poll::Pending,
            }
        }));
        arriving
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn no_order_gets_lost() {
    explore(|| {
        let list = Arc::new(ReadyList::default());
        let giving: Vec<_> = [1, 6]
            .map(|order| {
                let list = Arc::clone(&list);
                thread::spawn(move || list.signal(order))
            })
            .into();
        let mut obeyed = 0;
        block_on(poll_fn(|cx| {
            list.register(cx.waker());
            let signals = list.take_signals();
            assert_eq!(obeyed & signals, 0, "obeyed twice");
            obeyed |= signals;
            match obeyed {
                7 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        }));
        giving.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
