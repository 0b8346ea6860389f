//! Bytes that a local client has not taken yet, and the bound on all of them.

use std::sync::Arc;

use bytes::{Buf, BytesMut};

use crate::sync::{AtomicUsize, Relaxed};

/// What waits in all streams together.
pub(crate) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit,
        }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.used.load(Relaxed) >= self.limit
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

/// The bytes that wait for one client.
pub(super) struct Backlog {
    bytes: BytesMut,
    budget: Arc<Budget>,
}

impl Backlog {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self {
            bytes: BytesMut::new(),
            budget,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.budget.used.fetch_add(bytes.len(), Relaxed);
    }

    /// The client took `count` bytes; the memory is given back once it took all.
    pub(super) fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.budget.used.fetch_sub(count, Relaxed);
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes.len(), Relaxed);
    }
}
