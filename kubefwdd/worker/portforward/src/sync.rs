//! What threads share on the data path is made of these types. `tests/interleavings` replaces them with others, which try
//! every interleaving of threads and every value that they may see.

pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed,
};

pub(crate) use futures_util::task::AtomicWaker;
