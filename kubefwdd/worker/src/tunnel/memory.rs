//! Which transport each cluster accepted, kept over restarts: a cluster behind a proxy that passes only WebSocket is not
//! asked for SPDY first each time.
//!
//! One small file of the user's, a line for each API server. It only saves round trips, so whatever is wrong with it counts
//! as not knowing.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::upgrade::Transport;

/// Lines that are kept; the oldest go first.
const MOST: usize = 500;
/// A file that is larger is not ours.
const LARGEST: u64 = 1024 * 1024;

/// The file.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    writing: Mutex<()>,
}

impl Memory {
    /// In this file, made when there is something to keep.
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

    /// What the API server accepted last. The oldest protocol is never said: what else it may speak should be tried again.
    pub(super) fn recall(&self, server: &str) -> Option<Transport> {
        let lines = self.read();
        let (_, word) = lines.iter().find(|(known, _)| known == server)?;
        parse(word)
    }

    /// Keeps what an API server accepted.
    pub(super) fn remember(&self, server: &str, transport: Transport) {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = self.read();
        lines.retain(|(known, _)| known != server);
        if let Some(word) = word(transport) {
            lines.push((server.to_owned(), word.to_owned()));
        }
        let first = lines.len().saturating_sub(MOST);
        if let Err(error) = write(&self.path, &lines[first..]) {
            tracing::debug!(path = %self.path.display(), %error, "the transport is not remembered");
        }
    }

    fn read(&self) -> Vec<(String, String)> {
        let small = fs::metadata(&self.path).is_ok_and(|file| file.len() <= LARGEST);
        let text = small.then(|| fs::read_to_string(&self.path).ok()).flatten();
        let text = text.unwrap_or_default();
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        pairs
            .map(|(server, word)| (server.to_owned(), word.to_owned()))
            .collect()
    }
}

/// All of it or nothing: two workers of a user may write at the same time.
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

fn word(transport: Transport) -> Option<&'static str> {
    match transport {
        Transport::Spdy => Some("spdy"),
        Transport::WebSocket => Some("websocket"),
        Transport::Channel => None,
    }
}

fn parse(text: &str) -> Option<Transport> {
    match text {
        "spdy" => Some(Transport::Spdy),
        "websocket" => Some(Transport::WebSocket),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> (tempfile::TempDir, Memory) {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::at(folder.path().join("deep").join("transports"));
        (folder, memory)
    }

    #[test]
    fn each_server_has_its_own_and_the_last_counts() {
        let (_folder, memory) = memory();
        assert_eq!(memory.recall("https://a"), None);
        memory.remember("https://a", Transport::Spdy);
        memory.remember("https://b", Transport::WebSocket);
        memory.remember("https://a", Transport::WebSocket);
        memory.remember("https://b", Transport::Spdy);
        assert_eq!(memory.recall("https://a"), Some(Transport::WebSocket));
        assert_eq!(memory.recall("https://b"), Some(Transport::Spdy));
        memory.remember("https://a", Transport::Channel);
        assert_eq!(
            memory.recall("https://a"),
            None,
            "better ones are tried again"
        );
    }

    #[test]
    fn what_cannot_be_read_or_written_is_not_known() {
        let (folder, memory) = memory();
        fs::create_dir_all(folder.path().join("deep")).unwrap();
        fs::write(&memory.path, "https://a nonsense\nrubbish\n\u{0}\n").unwrap();
        assert_eq!(memory.recall("https://a"), None);
        let nowhere = Memory::at(PathBuf::from("/proc/nowhere/transports"));
        nowhere.remember("https://a", Transport::Spdy);
        assert_eq!(nowhere.recall("https://a"), None);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let (_folder, memory) = memory();
        let many: Vec<_> = (0..MOST)
            .map(|n| (format!("https://{n}"), "spdy".to_owned()))
            .collect();
        write(&memory.path, &many).unwrap();
        memory.remember("https://new", Transport::WebSocket);
        assert_eq!(memory.recall("https://0"), None);
        assert_eq!(memory.recall("https://1"), Some(Transport::Spdy));
        assert_eq!(memory.recall("https://new"), Some(Transport::WebSocket));
    }
}
