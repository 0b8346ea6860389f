//! What threads share on the data path is made of these types. `tests/interleavings` puts others in their place, which try
//! out every order in which threads can run and every value that they may see.

pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed,
};

pub(crate) use futures_util::task::AtomicWaker;
