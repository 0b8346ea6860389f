//! The cache file.

use super::*;

fn cache() -> (tempfile::TempDir, TransportCache) {
    let folder = tempfile::tempdir().unwrap();
    let cache = TransportCache::at(folder.path().join("deep").join("transports"));
    (folder, cache)
}

#[test]
fn each_server_has_its_own_and_the_last_counts() {
    let (_folder, cache) = cache();
    assert_eq!(cache.get("https://a"), None);
    cache.set("https://a", Transport::Spdy);
    cache.set("https://b", Transport::WebSocket);
    cache.set("https://a", Transport::WebSocket);
    cache.set("https://b", Transport::Spdy);
    assert_eq!(cache.get("https://a"), Some(Transport::WebSocket));
    assert_eq!(cache.get("https://b"), Some(Transport::Spdy));
    cache.set("https://a", Transport::Channel);
    assert_eq!(cache.get("https://a"), None, "better ones are tried again");
}

#[test]
fn what_cannot_be_read_or_written_is_not_known() {
    let (folder, cache) = cache();
    fs::create_dir_all(folder.path().join("deep")).unwrap();
    fs::write(&cache.path, "https://a nonsense\nrubbish\n\u{0}\n").unwrap();
    assert_eq!(cache.get("https://a"), None);
    let nowhere = TransportCache::at(PathBuf::from("/proc/nowhere/transports"));
    nowhere.set("https://a", Transport::Spdy);
    assert_eq!(nowhere.get("https://a"), None);
}

#[test]
fn the_oldest_are_forgotten() {
    let (_folder, cache) = cache();
    let many: Vec<_> = (0..MAX_LINES)
        .map(|n| (format!("https://{n}"), "spdy".to_owned()))
        .collect();
    write(&cache.path, &many).unwrap();
    cache.set("https://new", Transport::WebSocket);
    assert_eq!(cache.get("https://0"), None);
    assert_eq!(cache.get("https://1"), Some(Transport::Spdy));
    assert_eq!(cache.get("https://new"), Some(Transport::WebSocket));
}
