//! In place of `http2` where that is not built: connections that speak it are not captured.

use std::time::Instant;

use crate::exchange::{Seen, Unclear};

#[derive(Debug)]
pub(crate) struct Connection;

impl Connection {
    pub(crate) fn new(_keep_queries: bool) -> Self {
        Self
    }

    pub(crate) fn client(
        &mut self,
        _bytes: &[u8],
        _now: Instant,
        _seen: &mut impl FnMut(Seen),
    ) -> Result<(), Unclear> {
        Err(Unclear)
    }

    pub(crate) fn server(
        &mut self,
        _bytes: &[u8],
        _now: Instant,
        _seen: &mut impl FnMut(Seen),
    ) -> Result<(), Unclear> {
        Err(Unclear)
    }

    pub(crate) fn end(&mut self, _now: Instant, _seen: &mut impl FnMut(Seen)) {}

    pub(crate) fn pending(&self) -> usize {
        0
    }

    pub(crate) fn held(&self) -> usize {
        0
    }
}
