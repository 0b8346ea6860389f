//! HTTP requests seen in bytes that were already forwarded.
//!
//! A `Sniffer` sees both directions of one connection after the bytes were forwarded: it cannot delay, change or stop
//! them. It does no I/O, holds a bounded amount of memory, and gives up on a connection for good as soon as it is unsure
//! what the bytes mean: a wrong record would be worse than none.
//!
//! | module | responsibility |
//! |---|---|
//! | `classify` | detects the protocol from the client's first bytes |
//! | `http1` | heads and bodies; pairs requests and answers in order |
//! | `http2` | frames and HPACK; pairs requests and answers by stream; gRPC |
//! | `budget` | bounds the memory of all sniffers together |
//! | `text` | methods and targets, shortened and cleaned |
//! | [`recorder`] | collects records for the daemon, and samples them |

mod budget;
mod classify;
mod exchange;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod http1;
mod http2;
pub mod recorder;
mod sniffer;
mod sync;
mod text;

#[cfg(test)]
mod tests;
