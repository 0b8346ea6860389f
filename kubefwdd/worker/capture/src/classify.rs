//! Detects the protocol of a connection from the client's first bytes.

/// The preface of a client with prior knowledge (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guess {
    /// Not enough yet.
    Unknown,
    Http1,
    Http2,
    /// TLS, or any other protocol.
    Other,
}

/// The first bytes, as many as decide.
#[derive(Debug, Default)]
pub(super) struct Opening {
    bytes: [u8; PREFACE.len()],
    have: u8,
}

impl Opening {
    /// What was kept so far.
    pub(super) fn kept(&self) -> &[u8] {
        &self.bytes[..usize::from(self.have)]
    }

    /// Takes bytes off `input` until they decide.
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Guess {
        while let Some((byte, rest)) = input.split_first() {
            let at = usize::from(self.have);
            let Some(place) = self.bytes.get_mut(at) else {
                return Guess::Other;
            };
            *place = *byte;
            self.have += 1;
            *input = rest;
            let guess = guess(self.kept());
            if guess != Guess::Unknown {
                return guess;
            }
        }
        Guess::Unknown
    }
}

fn guess(bytes: &[u8]) -> Guess {
    if bytes == PREFACE {
        return Guess::Http2;
    }
    if PREFACE.starts_with(bytes) {
        return Guess::Unknown;
    }
    // A method in capitals, as all that exist are; what is shorter than a preface and has no space yet may become one.
    let method = bytes.strip_suffix(b" ").unwrap_or(bytes);
    let capitals = |byte: &u8| matches!(byte, b'A'..=b'Z' | b'-' | b'_');
    if method.is_empty() || !method.iter().all(capitals) {
        Guess::Other
    } else if method.len() < bytes.len() {
        Guess::Http1
    } else if bytes.len() < PREFACE.len() {
        Guess::Unknown
    } else {
        Guess::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], Guess::Http1),
            (b"VERSION-CONTROL /", Guess::Http1),
            (b"P", Guess::Unknown),
            (b"PRI", Guess::Unknown),
            (b"PRINT /x", Guess::Http1),
            (PREFACE, Guess::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nXX", Guess::Other),
            (b"\x16\x03\x01\x02\x00", Guess::Other),
            (b" GET", Guess::Other),
            (b"get / HTTP/1.1", Guess::Other),
            (b"PING\r\n", Guess::Other),
            (b"*1\r\n$4\r\nPING\r\n", Guess::Other),
            (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ /", Guess::Other),
            (b"", Guess::Unknown),
        ] {
            let mut whole = bytes;
            assert_eq!(Opening::default().take(&mut whole), expected, "{bytes:?}");
            let mut opening = Opening::default();
            let by_byte = bytes.chunks(1).map(|mut byte| opening.take(&mut byte));
            let decided = by_byte.into_iter().find(|guess| *guess != Guess::Unknown);
            assert_eq!(decided.unwrap_or(Guess::Unknown), expected, "{bytes:?}");
        }
    }
}
