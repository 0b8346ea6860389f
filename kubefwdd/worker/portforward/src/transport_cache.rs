//! Caches on disk which transport each cluster accepted: a cluster behind a proxy that passes only WebSocket is not
//! asked for SPDY first each time.
//!
//! One small file of the user's, a line for each API server. It only saves round trips, so a file that cannot be read or
//! written is ignored.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::transport::Transport;
use parking_lot::Mutex;

/// Not the oldest protocol, so that the better ones are tried again.
const CACHED: [Transport; 2] = [Transport::Spdy, Transport::WebSocket];
/// Lines that are kept; the oldest are dropped first.
const MAX_LINES: usize = 500;
/// A larger file is not ours.
const MAX_BYTES: u64 = 1024 * 1024;

/// The cache file.
#[derive(Debug)]
pub struct TransportCache {
    path: PathBuf,
    writing: Mutex<()>,
}

impl TransportCache {
    /// In this file, created on first use.
    pub fn at(path: PathBuf) -> Self {
        Self {
            path,
            writing: Mutex::new(()),
        }
    }

    /// In the user's cache folder: `$XDG_CACHE_HOME`, else `~/.cache`. `None` where neither is known.
    pub fn of_user() -> Option<Self> {
        let folder = |name| std::env::var_os(name).map(PathBuf::from);
        let cache = folder("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        let home = || folder("HOME").filter(|path| path.is_absolute());
        let cache = cache.or_else(|| Some(home()?.join(".cache")))?;
        Some(Self::at(cache.join("kubefwd").join("transports")))
    }

    /// What the API server accepted last.
    pub(crate) fn get(&self, server: &str) -> Option<Transport> {
        let lines = self.read();
        let (_, word) = lines.iter().find(|(known, _)| known == server)?;
        let mut cached = CACHED.into_iter();
        cached.find(|transport| transport.as_str() == word)
    }

    /// Stores what an API server accepted.
    pub(crate) fn set(&self, server: &str, transport: Transport) {
        let _one_at_a_time = self.writing.lock();
        let mut lines = self.read();
        lines.retain(|(known, _)| known != server);
        if CACHED.contains(&transport) {
            lines.push((server.to_owned(), transport.as_str().to_owned()));
        }
        let first = lines.len().saturating_sub(MAX_LINES);
        if let Err(error) = write(&self.path, &lines[first..]) {
            tracing::debug!(path = %self.path.display(), %error, "cannot cache the transport");
        }
    }

    fn read(&self) -> Vec<(String, String)> {
        let small = fs::metadata(&self.path).is_ok_and(|file| file.len() <= MAX_BYTES);
        let text = small.then(|| fs::read_to_string(&self.path).ok()).flatten();
        let text = text.unwrap_or_default();
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        pairs
            .map(|(server, word)| (server.to_owned(), word.to_owned()))
            .collect()
    }
}

/// Replaces the file as a whole: two workers of a user may write at the same time.
fn write(path: &Path, lines: &[(String, String)]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = fs::File::create(&temporary)?;
    for (server, word) in lines {
        writeln!(file, "{server} {word}")?;
    }
    drop(file);
    fs::rename(&temporary, path).inspect_err(|_| {
        // The first error is the one that says why.
        let _left = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests;
