//! Files: the hosts file, the configuration, the state, tokens.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use kubefwd_core::hosts_block::{HostsEntries, foreign_names, remove, render};
use kubefwd_model::HostName;

use crate::config::Config;
use crate::store::fuzzing::World;
use crate::{rest_control, storage};

/// Names that an entry of the hosts file gets.
const NAMES: [&str; 4] = ["api", "api.shop", "api.shop.svc.cluster.local", "db-0.db"];

/// A hosts file; its first byte says which entries are written into it. Whatever the file holds: what is foreign stays
/// byte for byte and in order, and taking the block out gives back what was there.
pub fn hosts(bytes: &[u8]) {
    let Some((first, file)) = bytes.split_first() else {
        return;
    };
    let clean = remove(file).into_owned();
    assert!(is_part_of(&clean, file), "a foreign byte was changed");
    assert_eq!(remove(&clean), clean, "something is left");
    let names = foreign_names(file);
    assert_eq!(foreign_names(&clean), names);
    let mut now = file.to_vec();
    for entries in [entries(*first), entries(first.rotate_left(3))] {
        let written = render(&now, &entries).into_owned();
        assert_eq!(remove(&written) != written, !entries.is_empty());
        assert_eq!(render(&written, &entries), written, "not stable");
        assert_eq!(remove(&written), clean);
        assert_eq!(foreign_names(&written), names);
        now = written;
    }
}

fn entries(bits: u8) -> HostsEntries {
    let names = || NAMES.iter().filter_map(|name| HostName::parse(name).ok());
    (0..8_u8)
        .filter(|bit| bits & 1 << bit != 0)
        .map(|bit| (Ipv4Addr::new(127, 1, 27, bit + 1), names().collect()))
        .collect::<BTreeMap<_, _>>()
}

/// Whether `part` is what is left of `whole` after bytes were taken out.
fn is_part_of(part: &[u8], whole: &[u8]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|byte| whole.any(|other| other == byte))
}

/// A configuration file: what is accepted can be used.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Config::parse(Path::new("kubefwdd.toml"), text) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(config) => {
            let hour = Duration::from_secs(3600);
            for wait in [config.no_backend_wait(), config.half_close_grace()] {
                assert!(wait.is_ok_and(|wait| wait.is_none_or(|wait| wait <= hour)));
            }
            assert!(config.range().is_ok() && config.access().is_ok());
            assert!(config.reservations().is_ok() && config.allowed_suffixes().is_ok());
            kubefwd_rest::fuzzing::settings(rest_control::settings(&config.rest));
        }
    }
}

/// A file of tokens.
pub fn tokens(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        kubefwd_rest::fuzzing::tokens(text);
    }
}

/// A state file: what can be read can be started with, and a second start with what the first one saved finds the same
/// names and listeners.
pub fn state(bytes: &[u8]) {
    let Ok(saved) = storage::parse(bytes) else {
        return;
    };
    let (world, _) = World::new(saved, None);
    let saved = world.saved();
    let text = storage::text(saved.clone());
    let read = text.ok().and_then(|text| storage::parse(&text).ok());
    assert_eq!(read.as_ref(), Some(&saved));
    let (again, _) = World::new(saved, None);
    assert_eq!(again.shown(), world.shown());
    world.end();
    again.end();
}
