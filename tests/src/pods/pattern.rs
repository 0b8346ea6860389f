//! A byte pattern whose every position can be checked: lost, repeated, swapped or changed bytes show at once.
//!
//! The pattern has a prime period of about a mebibyte, so that sources can send slices of one static buffer and checkers
//! compare with it: no work per byte beyond a memory comparison.

use std::sync::LazyLock;

use bytes::Bytes;

/// The period: the largest prime below 2^20.
const PERIOD: usize = 1_048_573;

/// The largest slice that [`pattern`] returns.
pub const MAX_SLICE: usize = 256 * 1024;

static BUFFER: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes: Vec<u8> = (0..PERIOD)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .collect();
    bytes.extend_from_within(..MAX_SLICE);
    Bytes::from(bytes)
});

/// Up to `length` bytes (at most [`MAX_SLICE`]) of the pattern from `offset` on, without copying.
#[must_use]
pub fn pattern(offset: u64, length: usize) -> Bytes {
    let start = (offset % PERIOD as u64) as usize;
    BUFFER.slice(start..start + length.min(MAX_SLICE))
}

/// Checks a stream against the pattern, from its beginning.
#[derive(Debug, Default, Clone)]
pub struct PatternCheck {
    offset: u64,
}

/// The first byte that was not what the pattern says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset} is {got:#04x}, the pattern has {expected:#04x} there")]
pub struct Mismatch {
    /// Position in the stream.
    pub offset: u64,
    /// What the pattern has there.
    pub expected: u8,
    /// What came.
    pub got: u8,
}

impl PatternCheck {
    /// How many bytes were checked.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Checks the next bytes of the stream.
    ///
    /// # Errors
    /// The first mismatch; the check is then of no further use.
    pub fn check(&mut self, mut data: &[u8]) -> Result<(), Mismatch> {
        while !data.is_empty() {
            let expected = pattern(self.offset, data.len());
            let (now, later) = data.split_at(expected.len());
            if now != expected {
                let at = now.iter().zip(&expected[..]).take_while(|(a, b)| a == b);
                let at = at.count();
                return Err(Mismatch {
                    offset: self.offset + at as u64,
                    expected: expected[at],
                    got: now[at],
                });
            }
            self.offset += now.len() as u64;
            data = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_of_the_pattern_is_accepted() {
        let mut check = PatternCheck::default();
        let mut sent = 0;
        for length in [1, 7, 32_768, 262_144, 900_000, 3] {
            let mut left = length;
            while left > 0 {
                let chunk = pattern(sent, left);
                check.check(&chunk).unwrap();
                sent += chunk.len() as u64;
                left -= chunk.len();
            }
        }
        assert_eq!(check.offset(), sent);
    }

    #[test]
    fn a_lost_frame_is_found_where_it_is_missing() {
        let mut check = PatternCheck::default();
        check.check(&pattern(0, 32_768)).unwrap();
        let error = check.check(&pattern(65_536, 32_768)).unwrap_err();
        assert!((32_768..32_800).contains(&error.offset), "{error}");
    }

    #[test]
    fn a_changed_byte_is_named() {
        let mut data = pattern(0, 100).to_vec();
        data[42] ^= 1;
        let error = PatternCheck::default().check(&data).unwrap_err();
        assert_eq!(
            (error.offset, error.expected, error.got),
            (42, data[42] ^ 1, data[42])
        );
    }
}
