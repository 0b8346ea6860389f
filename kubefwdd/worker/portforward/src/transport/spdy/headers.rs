//! Header blocks of `SYN_STREAM`, written without a compressor.
//!
//! SPDY compresses all header blocks of a direction as one zlib stream with a preset dictionary. A stored deflate block is
//! legal zlib, so a block goes out as it is, between a stored-block header and the empty stored block that a sync flush
//! ends with. That costs some forty bytes per stream and saves the 260 KiB of state that a compressor keeps.

/// CMF, FLG with FDICT, and the Adler-32 of SPDY/3's dictionary; opens the direction's zlib stream.
const ZLIB_HEADER: [u8; 6] = [0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2];
/// An empty stored block: the inflater hands out everything in front of it.
const SYNC_FLUSH: [u8; 5] = [0x00, 0x00, 0x00, 0xff, 0xff];

/// The header block of one stream of a pair; `first` for the first block of the connection.
pub(super) fn block(kind: &str, port: u16, request: u32, first: bool) -> Vec<u8> {
    let raw = raw(&[
        ("streamtype", kind),
        ("port", &port.to_string()),
        ("requestid", &request.to_string()),
    ]);
    let length = raw.len() as u16;
    let mut block = Vec::with_capacity(raw.len() + 16);
    if first {
        block.extend_from_slice(&ZLIB_HEADER);
    }
    block.push(0);
    block.extend_from_slice(&length.to_le_bytes());
    block.extend_from_slice(&(!length).to_le_bytes());
    block.extend_from_slice(&raw);
    block.extend_from_slice(&SYNC_FLUSH);
    block
}

fn raw(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(64);
    raw.extend_from_slice(&(pairs.len() as u32).to_be_bytes());
    for (name, value) in pairs {
        for field in [name, value] {
            raw.extend_from_slice(&(field.len() as u32).to_be_bytes());
            raw.extend_from_slice(field.as_bytes());
        }
    }
    raw
}
