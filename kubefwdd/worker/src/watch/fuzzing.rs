//! Lists and watch events, with any bytes.

use kube::core::WatchEvent;

use super::decode::{Decode, Page, RawPod, RawService, RawSlice};

/// A page of a list, or an event of a watch, of every kind that is watched.
pub fn watch(bytes: &[u8]) {
    decode::<RawService>(bytes);
    decode::<RawPod>(bytes);
    decode::<RawSlice>(bytes);
}

fn decode<W: Decode>(bytes: &[u8]) {
    if let Ok(page) = serde_json::from_slice::<Page<W>>(bytes) {
        for object in page.items.unwrap_or_default() {
            compact(object);
        }
    }
    let event = serde_json::from_slice::<WatchEvent<W>>(bytes);
    if let Ok(
        WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object),
    ) = event
    {
        compact(object);
    }
}

fn compact<W: Decode>(object: W) {
    let _named = object.metadata().name.len();
    let _kept = object.compact();
}
