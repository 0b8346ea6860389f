//! HPACK's Huffman code (RFC 7541, appendix B), decoded four bits at a time.
//!
//! The code is canonical: the lengths say everything, and the table is computed from them when the program is built.

use crate::exchange::Unclear;

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
const END: u16 = 256;
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
    effect: Effect,
}

#[derive(Clone, Copy)]
enum Effect {
    Nothing,
    Symbol(u8),
    /// The end of a string, in a string.
    Wrong,
}

/// Hands each decoded byte to `take`. An end inside the string and invalid padding are unclear.
pub(super) fn decode(code: &[u8], mut take: impl FnMut(u8)) -> Result<(), Unclear> {
    let mut node = 0;
    for byte in code {
        for bits in [byte >> 4, byte & 15] {
            let step = STEPS[usize::from(node)][usize::from(bits)];
            match step.effect {
                Effect::Nothing => {}
                Effect::Symbol(symbol) => take(symbol),
                Effect::Wrong => return Err(Unclear),
            }
            node = step.node;
        }
    }
    if PADDING[usize::from(node)] {
        return Ok(());
    }
    Err(Unclear)
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
        effect: Effect::Nothing,
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
                    step.effect = match child & !LEAF {
                        END => Effect::Wrong,
                        symbol => Effect::Symbol(symbol as u8),
                    };
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
mod tests;
