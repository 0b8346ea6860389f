//! The parsers with any bytes, as `fuzz/` and the test over `fuzz/corpus` call them: however these are cut, the result is
//! the same.

use crate::http1::{parse_head, reason};
use crate::transport::spdy::{Event, FrameError as SpdyError, Parser};
use crate::transport::websocket::{Deframer, FrameError as WebSocketError, Item};

/// Frames of a container runtime.
pub fn spdy(bytes: &[u8]) {
    assert_eq!(frames([bytes]), frames(bytes.chunks(1)));
    assert_eq!(frames([bytes]), frames(bytes.chunks(7)));
}

/// Messages of an API server.
pub fn websocket(bytes: &[u8]) {
    assert_eq!(messages([bytes]), messages(bytes.chunks(1)));
    assert_eq!(messages([bytes]), messages(bytes.chunks(7)));
}

/// The answer to an upgrade: a head, or a body that says why not.
pub fn http(bytes: &[u8]) {
    if let Ok(Some(head)) = parse_head(bytes) {
        assert!(head.length <= bytes.len());
        let again = parse_head(&bytes[..head.length]);
        assert!(again.is_ok_and(|again| again.is_some_and(|again| again.length == head.length)));
    }
    let reason = reason(bytes);
    assert!(!reason.message.contains(char::is_control));
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Bytes(u32, Vec<u8>),
    End(u32, bool),
    Other(String),
}

fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Said>, SpdyError> {
    let mut parser = Parser::default();
    let mut said = Vec::new();
    for mut piece in pieces {
        while let Some(event) = parser.next(&mut piece)? {
            match event {
                Event::Data {
                    stream,
                    bytes,
                    end,
                    fin,
                } => {
                    match said.last_mut() {
                        Some(Said::Bytes(last, joined)) if *last == stream => {
                            joined.extend_from_slice(bytes);
                        }
                        _ => said.push(Said::Bytes(stream, bytes.to_vec())),
                    }
                    if end {
                        said.push(Said::End(stream, fin));
                    }
                }
                other => said.push(Said::Other(format!("{other:?}"))),
            }
        }
        assert!(piece.is_empty(), "the parser leaves nothing behind");
    }
    Ok(said)
}

fn messages<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Said>, WebSocketError> {
    let mut deframer = Deframer::default();
    let mut said = Vec::new();
    for mut piece in pieces {
        while let Some(item) = deframer.next(&mut piece)? {
            match item {
                Item::Data { bytes, start } => match said.last_mut() {
                    Some(Said::Bytes(_, joined)) if !start => joined.extend_from_slice(bytes),
                    _ => said.push(Said::Bytes(u32::from(start), bytes.to_vec())),
                },
                other => said.push(Said::Other(format!("{other:?}"))),
            }
        }
    }
    Ok(said)
}

#[cfg(test)]
#[path = "../../../../fuzz/corpus.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    #[test]
    fn no_parser_is_upset_by_its_corpus_or_by_damage_to_it() {
        super::corpus::run(
            &[
                ("http", super::http),
                ("spdy", super::spdy),
                ("websocket", super::websocket),
            ],
            200,
        );
    }
}
