//! Identifiers that look like those of a real cluster.

use ring::digest::{SHA256, digest};

/// A random UUID (version 4).
pub(crate) fn uuid() -> String {
    format_uuid(rand::random())
}

/// A UUID that is a function of the seed.
pub(crate) fn uuid_from(seed: &str) -> String {
    let hash = digest(&SHA256, seed.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    format_uuid(bytes)
}

/// 64 hexadecimal digits that are a function of the seed.
pub(crate) fn hex64(seed: &str) -> String {
    let hash = digest(&SHA256, seed.as_bytes());
    hash.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// A random suffix in the alphabet that Kubernetes uses for generated names.
pub(crate) fn suffix(length: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..length)
        .map(|_| char::from(ALPHABET[rand::random_range(0..ALPHABET.len())]))
        .collect()
}

fn format_uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}
