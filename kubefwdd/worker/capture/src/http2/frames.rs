//! Walks over the frames of one direction of an HTTP/2 connection (RFC 9113, section 4): header blocks are put together,
//! data is counted, the rest is skipped.

use std::time::Instant;

use crate::exchange::Unclear;

const HEADER: usize = 9;
/// The id of a stream, bytes.
const STREAM_ID: usize = 4;
/// The largest header block that is put together.
const MAX_BLOCK: usize = 64 * 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// What a frame, or a piece of one, says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A whole header block is in [`Frames::block`].
    Headers {
        stream: u32,
        end: bool,
        began: Instant,
    },
    /// A whole header block is in [`Frames::block`], of a request that the server makes up itself.
    Promise,
    Data {
        stream: u32,
        bytes: usize,
        end: bool,
    },
    Reset {
        stream: u32,
    },
    /// Streams above `last` get no answer.
    GoAway {
        last: u32,
    },
}

/// The frames of one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: Vec<u8>,
    state: State,
    /// The first frame was seen, and was what it has to be.
    begun: bool,
    block: Vec<u8>,
    /// The header block that is not whole yet.
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    stream: u32,
    end: bool,
    promise: bool,
    began: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Header,
    Skip(usize),
    Data(Data),
    /// A piece of a header block, which begins at `start` of the block.
    Piece {
        flags: u8,
        start: usize,
        left: usize,
    },
}

#[derive(Clone, Copy, Debug)]
struct Data {
    stream: u32,
    end: bool,
    /// The first byte says how much padding there is, and was not seen.
    padded: bool,
    left: usize,
    padding: usize,
}

impl Frames {
    /// The header block that the last item spoke of.
    pub(super) fn block(&self) -> &[u8] {
        &self.block
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        self.block.capacity() + self.header.capacity()
    }

    /// The next thing that `input` says; `None` once all of it was taken.
    pub(super) fn next(
        &mut self,
        input: &mut &[u8],
        now: Instant,
    ) -> Result<Option<Item>, Unclear> {
        loop {
            match self.state {
                State::Header => {
                    let missing = self.prefix() - self.header.len();
                    if missing == 0 {
                        if let Some(item) = self.begin(now)? {
                            return Ok(Some(item));
                        }
                    } else if input.is_empty() {
                        return Ok(None);
                    } else {
                        let take = missing.min(input.len());
                        self.header.extend_from_slice(advance(input, take));
                    }
                }
                State::Skip(left) => {
                    let take = left.min(input.len());
                    advance(input, take);
                    if take < left {
                        self.state = State::Skip(left - take);
                        return Ok(None);
                    }
                    self.state = State::Header;
                }
                State::Data(data) => match self.data(data, input)? {
                    None if input.is_empty() => return Ok(None),
                    None => {}
                    item => return Ok(item),
                },
                State::Piece { flags, start, left } => {
                    let take = left.min(input.len());
                    self.block.extend_from_slice(advance(input, take));
                    if take < left {
                        let left = left - take;
                        self.state = State::Piece { flags, start, left };
                        return Ok(None);
                    }
                    self.state = State::Header;
                    if let Some(item) = self.end_piece(flags, start)? {
                        return Ok(Some(item));
                    }
                }
            }
        }
    }

    /// How much of a frame is read before it is judged: its header and, of a GOAWAY, the last stream.
    fn prefix(&self) -> usize {
        match self.header[..] {
            // Too short for a stream, of whatever kind.
            [0, 0, 0..4, ..] => HEADER,
            [_, _, _, GOAWAY, ..] => HEADER + STREAM_ID,
            _ => HEADER,
        }
    }

    /// Takes a frame's header.
    fn begin(&mut self, now: Instant) -> Result<Option<Item>, Unclear> {
        let [l2, l1, l0, kind, flags, s3, s2, s1, s0, ref behind @ ..] = self.header[..] else {
            return Err(Unclear);
        };
        let stream = u32::from_be_bytes([s3, s2, s1, s0]) & 0x7fff_ffff;
        // Only a GOAWAY has more.
        let last = behind.try_into().map_or(0, u32::from_be_bytes) & 0x7fff_ffff;
        self.header.clear();
        let left = usize::from(l2) << 16 | usize::from(l1) << 8 | usize::from(l0);
        if !std::mem::replace(&mut self.begun, true) && kind != SETTINGS {
            return Err(Unclear);
        }
        if self.open.is_some() != (kind == CONTINUATION) {
            return Err(Unclear);
        }
        self.state = match kind {
            DATA => State::Data(Data {
                stream,
                end: flags & END_STREAM != 0,
                padded: flags & PADDED != 0,
                left,
                padding: 0,
            }),
            HEADERS | PUSH_PROMISE => {
                self.block.clear();
                self.open = Some(Open {
                    stream,
                    end: kind == HEADERS && flags & END_STREAM != 0,
                    promise: kind == PUSH_PROMISE,
                    began: now,
                });
                self.piece(flags, left)?
            }
            CONTINUATION => {
                if self.open.is_some_and(|open| open.stream != stream) {
                    return Err(Unclear);
                }
                // It has neither padding nor priority, whatever these bits say.
                self.piece(flags & END_HEADERS, left)?
            }
            RST_STREAM => {
                self.state = State::Skip(left);
                return Ok(Some(Item::Reset { stream }));
            }
            GOAWAY => {
                let behind = left.checked_sub(STREAM_ID).ok_or(Unclear)?;
                self.state = State::Skip(behind);
                return Ok(Some(Item::GoAway { last }));
            }
            _ => State::Skip(left),
        };
        Ok(None)
    }

    fn piece(&self, flags: u8, left: usize) -> Result<State, Unclear> {
        let start = self.block.len();
        if start + left > MAX_BLOCK {
            return Err(Unclear);
        }
        Ok(State::Piece { flags, start, left })
    }

    /// Takes what is not header block out of a piece.
    fn end_piece(&mut self, flags: u8, start: usize) -> Result<Option<Item>, Unclear> {
        let open = self.open.ok_or(Unclear)?;
        let (mut before, padding) = match flags & PADDED {
            0 => (0, 0),
            _ => (1, usize::from(*self.block.get(start).ok_or(Unclear)?)),
        };
        if open.promise && start == 0 {
            before += 4;
        } else if flags & PRIORITY != 0 {
            before += 5;
        }
        if self.block.len() < start + before + padding {
            return Err(Unclear);
        }
        self.block.truncate(self.block.len() - padding);
        self.block.drain(start..start + before);
        if flags & END_HEADERS == 0 {
            return Ok(None);
        }
        self.open = None;
        Ok(Some(match open {
            Open { promise: true, .. } => Item::Promise,
            Open {
                stream, end, began, ..
            } => Item::Headers { stream, end, began },
        }))
    }

    fn data(&mut self, mut data: Data, input: &mut &[u8]) -> Result<Option<Item>, Unclear> {
        if data.padded {
            let left = data.left.checked_sub(1).ok_or(Unclear)?;
            let [padding, ..] = **input else {
                return Ok(None);
            };
            advance(input, 1);
            data.padded = false;
            data.left = left;
            data.padding = usize::from(padding);
            if data.padding > data.left {
                return Err(Unclear);
            }
        }
        let take = data.left.min(input.len());
        advance(input, take);
        let bytes = take.min(data.left - data.padding.min(data.left));
        data.left -= take;
        let whole = data.left == 0;
        self.state = if whole {
            State::Header
        } else {
            State::Data(data)
        };
        let end = whole && data.end;
        let stream = data.stream;
        Ok((bytes > 0 || end).then_some(Item::Data { stream, bytes, end }))
    }
}

/// Takes the first `count` bytes off `input`, which has them.
fn advance<'a>(input: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(count);
    *input = rest;
    taken
}

#[cfg(test)]
mod tests;
