//! A view of the bytes of one forwarded connection.

use std::time::Instant;

/// Sees the bytes of one connection after they were forwarded: it cannot delay, change or stop them.
pub trait Tap: Send {
    /// The client sent these bytes. Returns false to see no more.
    fn client(&mut self, bytes: &[u8], now: Instant) -> bool;

    /// The pod sent these bytes. Returns false to see no more.
    fn server(&mut self, bytes: &[u8], now: Instant) -> bool;
}
