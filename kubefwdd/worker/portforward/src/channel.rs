//! `v4.channel.k8s.io`: a WebSocket for one local connection, for API servers and proxies that accept nothing better.
//!
//! The first byte of a message is its channel: 0 for data, 1 for the runtime's error. The first message of each channel is
//! the port number. Half-close does not exist: closing closes both directions.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::connection::{ConnectionConfig, Downstream, End, Retry, client_socket, is_dial_error};
use crate::http1::printable;
use crate::transport::upgrade::Upgraded;
use crate::transport::websocket::{self, Deframer, Item};
use crate::upstream::{Scratch, Upstream, with_scratch};
use kubefwd_os::peer::Peer;

const DATA: u8 = 0;
const ERROR: u8 = 1;
/// The port number at the start of each channel.
const PREAMBLE: usize = 2;
const MAX_ERROR: usize = 4096;
/// The largest message: what the kubelet's copy takes at once.
const MESSAGE: usize = 32 * 1024;
const NORMAL_END: [u16; 2] = [1000, 1005];

/// Carries a local connection to its end.
pub(crate) async fn relay(
    upgraded: Upgraded,
    downstream: Downstream,
    config: &ConnectionConfig,
) -> End {
    let mut relay = Relay {
        upstream: upgraded.upstream,
        parser: ChannelParser::default(),
        downstream,
        waiting: Vec::new(),
        delivered: 0,
        shown: 0,
        pongs: Vec::new(),
        replayed: false,
        client_ended: None,
        last_data: Instant::now(),
        grace: config.settings.half_close_grace,
        ended: None,
        timer: Box::pin(sleep_until(Instant::now())),
    };
    if !upgraded.initial.is_empty() {
        relay.decode(&upgraded.initial);
    }
    poll_fn(|cx| with_scratch(|scratch| relay.turn(cx, scratch))).await;
    relay.finish().await
}

/// Cuts the WebSocket's payload into channels.
#[derive(Default)]
struct ChannelParser {
    deframer: Deframer,
    channel: u8,
    preambles: [usize; 2],
}

/// A piece of what came.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Data(&'a [u8]),
    Error(&'a [u8]),
    Ping(Vec<u8>),
    Close(u16),
}

impl ChannelParser {
    fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<Piece<'a>>, websocket::FrameError> {
        loop {
            let Some(item) = self.deframer.next(input)? else {
                return Ok(None);
            };
            let (mut bytes, start) = match item {
                Item::Data { bytes, start } => (bytes, start),
                Item::Ping(payload) => return Ok(Some(Piece::Ping(payload))),
                Item::Close(code) => return Ok(Some(Piece::Close(code))),
            };
            if start {
                self.channel = bytes[0];
                bytes = &bytes[1..];
            }
            let Some(preamble) = self.preambles.get_mut(usize::from(self.channel)) else {
                continue;
            };
            let skipped = (PREAMBLE - *preamble).min(bytes.len());
            *preamble += skipped;
            bytes = &bytes[skipped..];
            match self.channel {
                _ if bytes.is_empty() => {}
                DATA => return Ok(Some(Piece::Data(bytes))),
                ERROR => return Ok(Some(Piece::Error(bytes))),
                _ => {}
            }
        }
    }
}

struct Relay {
    upstream: Upstream,
    parser: ChannelParser,
    downstream: Downstream,
    /// Bytes of the pod that the client has not taken; the tunnel is not read while there are any.
    waiting: Vec<u8>,
    delivered: usize,
    /// How much of `waiting` the tap has seen.
    shown: usize,
    pongs: Vec<u8>,
    /// The bytes of an earlier attempt were sent.
    replayed: bool,
    /// The state of a client that has shut down its side.
    client_ended: Option<Peer>,
    last_data: Instant,
    grace: std::time::Duration,
    ended: Option<Ended>,
    timer: Pin<Box<Sleep>>,
}

/// How the far side ended, or the client broke.
enum Ended {
    Normal,
    Error(Vec<u8>),
    Broken(String),
    Client,
}

impl Relay {
    fn turn(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<()> {
        if let Poll::Ready(Err(_)) = self.deliver(cx) {
            self.ended = Some(Ended::Client);
            return Poll::Ready(());
        }
        if let Poll::Ready(Err(error)) = self.receive(cx, scratch) {
            self.ended.get_or_insert(Ended::Broken(error.to_string()));
        }
        if self.ended.is_some() {
            if self.waiting.is_empty() || matches!(self.ended, Some(Ended::Client)) {
                return Poll::Ready(());
            }
            return Poll::Pending;
        }
        match self.send(cx, scratch) {
            Poll::Ready(Err(error)) => {
                self.ended = Some(Ended::Broken(error.to_string()));
                return Poll::Ready(());
            }
            Poll::Ready(Ok(())) if self.client_ended == Some(Peer::Closed) => {
                self.ended = Some(Ended::Client);
                return Poll::Ready(());
            }
            _ => {}
        }
        self.wait_for_answer(cx)
    }

    /// A client that has ended its side waits for the rest of the answer, as long as it flows.
    fn wait_for_answer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.client_ended.is_none() {
            return Poll::Pending;
        }
        let until = self.last_data + self.grace;
        self.timer.as_mut().reset(until);
        ready!(self.timer.as_mut().poll(cx));
        self.ended = Some(Ended::Normal);
        Poll::Ready(())
    }

    fn deliver(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let delivered = self.pass_on(cx);
        if self.shown < self.waiting.len() {
            let now = Instant::now();
            self.downstream
                .show_received(&self.waiting[self.shown..], now);
            self.shown = self.waiting.len();
        }
        ready!(delivered)?;
        self.waiting.clear();
        self.delivered = 0;
        self.shown = 0;
        Poll::Ready(Ok(()))
    }

    fn pass_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.delivered < self.waiting.len() {
            let local = Pin::new(&mut self.downstream.local);
            self.delivered += ready!(local.poll_write(cx, &self.waiting[self.delivered..]))?;
        }
        Poll::Ready(Ok(()))
    }

    fn receive(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<io::Result<()>> {
        while self.waiting.is_empty() && self.ended.is_none() {
            let read = ready!(self.upstream.poll_read(cx, scratch))?;
            if read == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.decode(&scratch.plain[..read]);
            if let Poll::Ready(Err(_)) = self.deliver(cx) {
                self.ended = Some(Ended::Client);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn decode(&mut self, mut bytes: &[u8]) {
        loop {
            match self.parser.next(&mut bytes) {
                Ok(None) => return,
                Ok(Some(Piece::Data(bytes))) => {
                    self.last_data = Instant::now();
                    self.downstream.received(bytes.len(), self.last_data);
                    self.waiting.extend_from_slice(bytes);
                }
                Ok(Some(Piece::Error(text))) => {
                    let Ended::Error(error_text) =
                        self.ended.get_or_insert(Ended::Error(Vec::new()))
                    else {
                        continue;
                    };
                    let room = MAX_ERROR - error_text.len();
                    error_text.extend_from_slice(&text[..text.len().min(room)]);
                }
                Ok(Some(Piece::Ping(payload))) => {
                    websocket::pong(&mut self.pongs, &payload, rand::random());
                }
                Ok(Some(Piece::Close(code))) => {
                    self.ended.get_or_insert(if NORMAL_END.contains(&code) {
                        Ended::Normal
                    } else {
                        Ended::Broken(format!("the API server closed the WebSocket ({code})"))
                    });
                }
                Err(error) => {
                    self.ended.get_or_insert(Ended::Broken(error.to_string()));
                    return;
                }
            }
        }
    }

    /// Sends the client's bytes; ready once the client has ended and all is sent.
    fn send(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<io::Result<()>> {
        loop {
            ready!(self.upstream.poll_flush(cx, &mut scratch.sealed))?;
            if !self.pongs.is_empty() {
                let pongs = std::mem::take(&mut self.pongs);
                self.upstream.seal(&pongs, &mut scratch.sealed)?;
                continue;
            }
            let Scratch { wire, sealed, .. } = scratch;
            let body = websocket::MAX_HEADER + 1;
            let again = self.downstream.replay.as_ref().filter(|_| !self.replayed);
            if let Some(replay) = again.filter(|replay| !replay.is_empty()) {
                wire[body..body + replay.len()].copy_from_slice(replay);
                let end = body + replay.len();
                self.replayed = true;
                seal_message(&mut self.upstream, &mut wire[..end], sealed)?;
                continue;
            }
            self.replayed = true;
            if self.client_ended.is_some() {
                return Poll::Ready(Ok(()));
            }
            let mut room = ReadBuf::new(&mut wire[body..body + MESSAGE]);
            let read = ready!(Pin::new(&mut self.downstream.local).poll_read(cx, &mut room))
                .map(|()| room.filled().len());
            match read {
                Ok(0) => self.client_ended = Some(client_socket(&self.downstream.local)),
                Err(_) => self.client_ended = Some(Peer::Closed),
                Ok(read) => {
                    self.downstream.counters.sent(read);
                    self.downstream.keep(&wire[body..body + read]);
                    let key = seal_message(&mut self.upstream, &mut wire[..body + read], sealed)?;
                    if self.downstream.tap.is_some() {
                        // Send first, then show the bytes to the tap.
                        let flushed = self.upstream.poll_flush(cx, sealed);
                        websocket::mask(&mut wire[websocket::MAX_HEADER..body + read], key);
                        self.downstream
                            .show_sent(&wire[body..body + read], Instant::now());
                        ready!(flushed)?;
                    }
                }
            }
        }
    }

    async fn finish(self) -> End {
        self.upstream.close().await;
        let downstream = self.downstream;
        match self.ended {
            None | Some(Ended::Normal) => {
                let _ = SockRef::from(&downstream.local).shutdown(Shutdown::Write);
                End::Closed
            }
            Some(Ended::Client) => End::Closed,
            Some(Ended::Error(text)) => {
                let text = printable(&String::from_utf8_lossy(&text));
                if downstream.replay.is_some() && is_dial_error(&text) {
                    return End::Retry(downstream, Retry::Pod(text));
                }
                downstream.reset();
                End::Reset(text)
            }
            Some(Ended::Broken(why)) => {
                if downstream.replay.as_ref().is_some_and(Vec::is_empty) {
                    return End::Retry(downstream, Retry::Connection(why));
                }
                downstream.reset();
                End::Reset(why)
            }
        }
    }
}

/// Makes a message of `wire`, whose payload begins behind the room for the header and the channel; returns the key that
/// it is masked with now.
fn seal_message(
    upstream: &mut Upstream,
    wire: &mut [u8],
    sealed: &mut Vec<u8>,
) -> io::Result<[u8; 4]> {
    wire[websocket::MAX_HEADER] = DATA;
    let key = rand::random();
    let start = websocket::message(wire, key);
    upstream.seal(&wire[start..], sealed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::corpus::damaged;

    fn parse(pieces: &[&[u8]]) -> (Vec<u8>, Vec<u8>, Option<u16>) {
        let (mut data, mut error_text, mut closed) = (Vec::new(), Vec::new(), None);
        let mut parser = ChannelParser::default();
        for piece in pieces {
            let mut input = *piece;
            loop {
                match parser.next(&mut input) {
                    Ok(None) => break,
                    Ok(Some(Piece::Data(bytes))) => data.extend_from_slice(bytes),
                    Ok(Some(Piece::Error(bytes))) => error_text.extend_from_slice(bytes),
                    Ok(Some(Piece::Ping(_))) => {}
                    Ok(Some(Piece::Close(code))) => closed = Some(code),
                    Err(_) => return (data, error_text, closed),
                }
            }
        }
        (data, error_text, closed)
    }

    const CAPTURED: &[u8] = b"\x82\x03\x00\x90\x1f\x82\x03\x01\x90\x1f\x82\x07\x00hello\n\x82\x04\x01bad\x88\x02\x03\xe8";

    #[test]
    fn the_captured_bytes_are_understood() {
        let expected = (b"hello\n".to_vec(), b"bad".to_vec(), Some(1000));
        assert_eq!(parse(&[CAPTURED]), expected);
    }

    proptest! {
        #[test]
        fn any_cut_says_the_same(cut in 0..CAPTURED.len()) {
            let (head, tail) = CAPTURED.split_at(cut);
            prop_assert_eq!(parse(&[head, tail]), parse(&[CAPTURED]));
        }

        #[test]
        fn damaged_bytes_say_the_same_however_they_are_cut(bytes in damaged(&[CAPTURED])) {
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(parse(&single), parse(&[&bytes]));
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..1000)) {
            parse(&[&bytes]);
        }
    }
}
