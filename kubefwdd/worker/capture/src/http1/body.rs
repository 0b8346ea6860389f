//! Skips bodies of HTTP/1 messages (RFC 9112, sections 6 and 7), counting what is payload.

use crate::exchange::Unclear;

/// The longest of a chunk's extensions, and of all trailers of a body, bytes.
const MAX_LINES: usize = 16 * 1024;

/// What is left of a body.
#[derive(Debug)]
pub(super) enum Body {
    Length(u64),
    Chunked(Chunked),
    /// Everything until the connection ends.
    Rest,
}

/// Where in a chunked body the next byte is.
#[derive(Debug)]
pub(super) struct Chunked {
    position: Position,
    /// Bytes of lines since the last payload.
    lines: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Size { value: u64, digits: u8 },
    Extension { value: u64 },
    SizeLf { value: u64 },
    Payload(u64),
    PayloadCr,
    PayloadLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
}

/// The beginning of a chunk.
const SIZE: Position = Position::Size {
    value: 0,
    digits: 0,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    /// Bytes of payload.
    pub(super) payload: u64,
    /// The body is over.
    pub(super) whole: bool,
}

impl Body {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunked {
            position: SIZE,
            lines: 0,
        })
    }

    /// Takes what belongs to the body off `input`.
    pub(super) fn skip(&mut self, input: &mut &[u8]) -> Result<Skipped, Unclear> {
        match self {
            Self::Length(left) => {
                let payload = take(left, input);
                let whole = *left == 0;
                Ok(Skipped { payload, whole })
            }
            Self::Chunked(chunked) => chunked.skip(input),
            Self::Rest => {
                let payload = std::mem::take(input).len() as u64;
                Ok(Skipped {
                    payload,
                    whole: false,
                })
            }
        }
    }
}

impl Chunked {
    fn skip(&mut self, input: &mut &[u8]) -> Result<Skipped, Unclear> {
        let mut payload = 0;
        while let Some((byte, rest)) = input.split_first() {
            if let Position::Payload(left) = &mut self.position {
                payload += take(left, input);
                if *left == 0 {
                    self.position = Position::PayloadCr;
                    self.lines = 0;
                }
                continue;
            }
            *input = rest;
            self.lines += 1;
            if self.lines > MAX_LINES {
                return Err(Unclear);
            }
            if (self.position, byte) == (Position::EndLf, &b'\n') {
                return Ok(Skipped {
                    payload,
                    whole: true,
                });
            }
            self.position = next(self.position, *byte)?;
        }
        Ok(Skipped {
            payload,
            whole: false,
        })
    }
}

/// Line ends are CR LF and nothing else: a reader that accepts a lone LF sees other chunks.
fn next(position: Position, byte: u8) -> Result<Position, Unclear> {
    /// More could not be a size that exists.
    const DIGITS: u8 = 15;
    Ok(match (position, byte) {
        (Position::Size { value, digits }, _) if byte.is_ascii_hexdigit() && digits < DIGITS => {
            let digit = char::from(byte).to_digit(16).ok_or(Unclear)?;
            Position::Size {
                value: value << 4 | u64::from(digit),
                digits: digits + 1,
            }
        }
        (Position::Size { value, digits: 1.. } | Position::Extension { value }, b'\r') => {
            Position::SizeLf { value }
        }
        (Position::Size { value, digits: 1.. }, b';' | b' ' | b'\t') => {
            Position::Extension { value }
        }
        (Position::SizeLf { value: 0 }, b'\n') | (Position::TrailerLf, b'\n') => {
            Position::TrailerStart
        }
        (Position::SizeLf { value }, b'\n') => Position::Payload(value),
        (Position::PayloadCr, b'\r') => Position::PayloadLf,
        (Position::PayloadLf, b'\n') => SIZE,
        (Position::TrailerStart, b'\r') => Position::EndLf,
        (Position::Trailer, b'\r') => Position::TrailerLf,
        (Position::Extension { .. } | Position::TrailerStart | Position::Trailer, b'\n') => {
            return Err(Unclear);
        }
        (Position::Extension { value }, _) => Position::Extension { value },
        (Position::TrailerStart | Position::Trailer, _) => Position::Trailer,
        _ => return Err(Unclear),
    })
}

/// Takes at most `left` bytes.
fn take(left: &mut u64, input: &mut &[u8]) -> u64 {
    let taken = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    *input = &input[taken..];
    *left -= taken as u64;
    taken as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much payload there was, and what was left behind the body.
    fn skip<'a>(mut body: Body, pieces: &[&'a [u8]]) -> Result<(u64, Option<&'a [u8]>), Unclear> {
        let mut sum = 0;
        for piece in pieces {
            let mut input = *piece;
            let Skipped { payload, whole } = body.skip(&mut input)?;
            sum += payload;
            if whole {
                return Ok((sum, Some(input)));
            }
        }
        Ok((sum, None))
    }

    #[test]
    fn bodies_end_where_they_say() {
        let tail = Some(&b"next"[..]);
        assert_eq!(skip(Body::Length(3), &[b"abcnext"]), Ok((3, tail)));
        assert_eq!(skip(Body::Length(4), &[b"ab", b"c"]), Ok((3, None)));
        assert_eq!(skip(Body::Rest, &[b"ab", b"c"]), Ok((3, None)));
        for (text, payload) in [
            ("3\r\nabc\r\n0\r\n\r\nnext", 3),
            ("0\r\n\r\nnext", 0),
            (
                "000A;a=\"b\"\r\n0123456789\r\n1 \r\nx\r\n00\r\na: b\r\nc: d\r\n\r\nnext",
                11,
            ),
        ] {
            let bytes = text.as_bytes();
            assert_eq!(skip(Body::chunked(), &[bytes]), Ok((payload, tail)));
            for cut in 0..bytes.len() - 4 {
                let (head, rest) = bytes.split_at(cut);
                assert_eq!(skip(Body::chunked(), &[head, rest]), Ok((payload, tail)));
            }
        }
    }

    #[test]
    fn chunks_that_two_readers_could_see_differently_are_unclear() {
        for text in [
            "3\nabc\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "3;a\nb\r\n",
            "\r\n",
            "0x3\r\n",
            "-1\r\n",
            " 3\r\n",
            "1000000000000000\r\n",
            "0\r\n\n",
            "0\r\na: b\n\r\n",
        ] {
            let outcome = skip(Body::chunked(), &[text.as_bytes()]);
            assert_eq!(outcome, Err(Unclear), "{text:?}");
        }
        let endless = "0\r\n".to_owned() + &"a: b\r\n".repeat(5000);
        assert_eq!(skip(Body::chunked(), &[endless.as_bytes()]), Err(Unclear));
    }
}
