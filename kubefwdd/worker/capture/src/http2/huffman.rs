//! HPACK's Huffman code (RFC 7541, appendix B), decoded four bits at a time.
//!
//! The code is canonical: the lengths say everything, and the table is computed from them when the program is built.

/// The length of each symbol's code, bits; the last symbol is the end of a string, which never occurs in one.
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];
const SYMBOLS: usize = 257;
const END: usize = 256;
const LONGEST: u8 = 30;
/// Inner nodes of a binary tree with that many leaves.
const NODES: usize = SYMBOLS - 1;
/// Marks leaves among the children of a node.
const LEAF: u16 = 0x8000;

/// The transition of each node for four more bits. The shortest code has five bits: they complete at most one symbol.
static STEPS: [[Step; 16]; NODES] = steps();

#[derive(Clone, Copy)]
struct Step {
    node: u8,
    what: What,
    symbol: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Nothing,
    Symbol,
    /// The end of a string, in a string.
    Wrong,
}

/// Invalid code: an end inside the string, or invalid padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Invalid;

/// Hands each decoded byte to `take`.
pub(super) fn decode(code: &[u8], mut take: impl FnMut(u8)) -> Result<(), Invalid> {
    let mut node = 0;
    for byte in code {
        for bits in [byte >> 4, byte & 15] {
            let step = STEPS[usize::from(node)][usize::from(bits)];
            match step.what {
                What::Nothing => {}
                What::Symbol => take(step.symbol),
                What::Wrong => return Err(Invalid),
            }
            node = step.node;
        }
    }
    if PADDING[usize::from(node)] {
        return Ok(());
    }
    Err(Invalid)
}

/// Nodes at which a string may end: at a symbol's end, or within seven ones behind it.
static PADDING: [bool; NODES] = padding();

const fn tree() -> [[u16; 2]; NODES] {
    let mut children = [[0; 2]; NODES];
    let mut used: u16 = 1;
    let mut code: u32 = 0;
    let mut length = 1;
    while length <= LONGEST {
        code <<= 1;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] == length {
                let mut node = 0;
                let mut left = length;
                while left > 1 {
                    left -= 1;
                    let bit = (code >> left & 1) as usize;
                    if children[node][bit] == 0 {
                        children[node][bit] = used;
                        used += 1;
                    }
                    node = children[node][bit] as usize;
                }
                children[node][(code & 1) as usize] = LEAF | symbol as u16;
                code += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    children
}

const fn steps() -> [[Step; 16]; NODES] {
    let tree = tree();
    let nothing = Step {
        node: 0,
        what: What::Nothing,
        symbol: 0,
    };
    let mut steps = [[nothing; 16]; NODES];
    let mut from = 0;
    while from < NODES {
        let mut bits = 0;
        while bits < 16 {
            let mut node = from;
            let mut step = nothing;
            let mut left = 4;
            while left > 0 {
                left -= 1;
                let child = tree[node][bits >> left & 1];
                node = child as usize;
                if child & LEAF != 0 {
                    let symbol = (child & !LEAF) as usize;
                    step.what = if symbol == END {
                        What::Wrong
                    } else {
                        What::Symbol
                    };
                    step.symbol = symbol as u8;
                    node = 0;
                }
            }
            step.node = node as u8;
            steps[from][bits] = step;
            bits += 1;
        }
        from += 1;
    }
    steps
}

const fn padding() -> [bool; NODES] {
    let tree = tree();
    let mut padding = [false; NODES];
    let mut node = 0;
    let mut ones = 0;
    while ones < 8 {
        padding[node] = true;
        node = tree[node][1] as usize;
        ones += 1;
    }
    padding
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(code: &[u8]) -> Result<Vec<u8>, Invalid> {
        let mut bytes = Vec::new();
        decode(code, |byte| bytes.push(byte)).map(|()| bytes)
    }

    /// The straightforward encoder: code after code, then ones.
    fn encoded(bytes: &[u8]) -> Vec<u8> {
        let (mut code, mut codes) = (0_u32, [0_u32; SYMBOLS]);
        for length in 1..=LONGEST {
            code <<= 1;
            for symbol in (0..SYMBOLS).filter(|symbol| LENGTHS[*symbol] == length) {
                codes[symbol] = code;
                code += 1;
            }
        }
        let mut bits = Vec::new();
        for byte in bytes.iter().map(|byte| usize::from(*byte)) {
            bits.extend((0..LENGTHS[byte]).rev().map(|n| codes[byte] >> n & 1));
        }
        while bits.len() % 8 != 0 {
            bits.push(1);
        }
        bits.chunks(8)
            .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8))
            .collect()
    }

    #[test]
    fn the_examples_of_the_rfc_are_understood() {
        for (code, text) in [
            (
                &[
                    0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
                ][..],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf][..], "no-cache"),
            (&[0x64, 0x02][..], "302"),
            (&[][..], ""),
        ] {
            assert_eq!(decoded(code).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn an_end_inside_and_wrong_padding_are_refused() {
        // 30 ones are the end of a string; eight ones are no padding; zeros are none either.
        for code in [&[0xff, 0xff, 0xff, 0xff][..], &[0x64, 0x02, 0xff], &[0x00]] {
            assert_eq!(decoded(code), Err(Invalid), "{code:x?}");
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decoded(&encoded(&bytes)), Ok(bytes));
        }

        #[test]
        fn random_codes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decoded(&bytes);
        }
    }
}
