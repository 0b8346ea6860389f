//! What threads share on the data path is made of these types. `tests/interleavings.rs` replaces them with others, which try
//! every interleaving of threads and every value that they may see.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
