//! Making addresses local: aliases of the loopback interface, where the system needs them.
//!
//! What is added is written to a journal first, so that a next start, or the clean-up after a
//! crash, takes it back. The journal belongs into a directory that a reboot empties, as the
//! aliases themselves go with it.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg_attr(target_os = "linux", path = "loopback/linux.rs")]
#[cfg_attr(target_os = "macos", path = "loopback/macos.rs")]
mod imp;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

use crate::persist;

/// Why an address could not be added or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoopbackError {
    /// The system refused.
    #[error(
        "cannot add {address} to the loopback interface: {source}; kubefwdd needs \
         root, or CAP_NET_ADMIN, for addresses outside 127.0.0.0/8"
    )]
    Add {
        address: Ipv4Addr,
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot remove {address} from the loopback interface: {source}")]
    Remove {
        address: Ipv4Addr,
        source: io::Error,
    },
    /// The journal cannot be read or written; nothing is added without it.
    #[error("cannot use {path}, the journal of added addresses: {source}; check the directory")]
    Journal { path: PathBuf, source: io::Error },
}

/// The aliases that this daemon added.
#[derive(Debug)]
pub(crate) struct Loopback {
    journal: PathBuf,
    /// Open for appending from the first entry on.
    log: Option<File>,
    added: BTreeSet<Ipv4Addr>,
    /// Of these, what an earlier run added and nobody has asked for since.
    unclaimed: BTreeSet<Ipv4Addr>,
}

impl Loopback {
    /// Opens the journal at `path`. What an earlier run left behind stays until [`Self::drop_unclaimed`]: listeners that
    /// outlived it may be waiting there.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) fn open(path: impl Into<PathBuf>) -> Result<Self, LoopbackError> {
        let journal = path.into();
        let failed = |source| journal_error(&journal, source);
        let text = match std::fs::read(&journal) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            text => text.map_err(failed)?,
        };
        // A crash or a full disk in the middle of a line would spoil the line that is appended next.
        let whole = whole_lines(&text);
        if whole.len() < text.len() {
            persist::replace(&journal, whole).map_err(failed)?;
        }
        let left = still_there(whole);
        Ok(Self {
            journal,
            log: None,
            added: left.clone(),
            unclaimed: left,
        })
    }

    /// Takes back what an earlier run left behind and nobody has asked for since. An address that cannot be removed stays
    /// in the journal, and is logged.
    pub(crate) fn drop_unclaimed(&mut self) {
        for address in std::mem::take(&mut self.unclaimed) {
            if let Err(error) = self.remove(address) {
                tracing::warn!("{error}");
            }
        }
    }

    /// Makes an address local, if it is not.
    ///
    /// # Errors
    /// When the system refuses, or the journal cannot be written.
    pub(crate) fn ensure(&mut self, address: Ipv4Addr) -> Result<(), LoopbackError> {
        // The journal survives a reboot, the addresses do not.
        let is_known = self.added.contains(&address) && !self.unclaimed.remove(&address);
        if is_known || !imp::needs_alias(address) || is_local(address) {
            return Ok(());
        }
        self.note('+', address)?;
        if let Err(source) = imp::add(address) {
            self.note('-', address)?;
            return Err(LoopbackError::Add { address, source });
        }
        self.added.insert(address);
        Ok(())
    }

    /// Takes back an address that [`Self::ensure`] added; leaves others alone.
    ///
    /// # Errors
    /// When the system refuses, or the journal cannot be written.
    pub(crate) fn remove(&mut self, address: Ipv4Addr) -> Result<(), LoopbackError> {
        if !self.added.contains(&address) {
            return Ok(());
        }
        take_back(address)?;
        self.added.remove(&address);
        self.note('-', address)
    }

    /// Takes back everything that was added.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(crate) fn clear(&mut self) -> Result<(), LoopbackError> {
        if self.added.is_empty() {
            return Ok(());
        }
        self.added.retain(|address| match take_back(*address) {
            Ok(()) => false,
            Err(error) => {
                tracing::warn!("{error}");
                true
            }
        });
        let lines: String = self
            .added
            .iter()
            .map(|address| format!("+{address}\n"))
            .collect();
        self.log = None;
        persist::replace(&self.journal, lines.as_bytes())
            .map_err(|source| journal_error(&self.journal, source))
    }

    fn note(&mut self, sign: char, address: Ipv4Addr) -> Result<(), LoopbackError> {
        let log = match &mut self.log {
            Some(log) => log,
            None => {
                let mut append = OpenOptions::new();
                let opened = append.append(true).create(true).open(&self.journal);
                let opened = opened.map_err(|source| journal_error(&self.journal, source))?;
                self.log.insert(opened)
            }
        };
        // Not synced: a crash of this process keeps it, a crash of the machine needs it no more.
        let written = log.write_all(format!("{sign}{address}\n").as_bytes());
        written.map_err(|source| journal_error(&self.journal, source))
    }
}

fn journal_error(journal: &Path, source: io::Error) -> LoopbackError {
    LoopbackError::Journal {
        path: journal.to_owned(),
        source,
    }
}

/// Removes an address; one that is gone already counts as removed.
fn take_back(address: Ipv4Addr) -> Result<(), LoopbackError> {
    match imp::remove(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(()),
        result => result.map_err(|source| LoopbackError::Remove { address, source }),
    }
}

/// Whether the machine has the address on any interface.
fn is_local(address: Ipv4Addr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// What the lines of a journal say is still there. Half a line, from a crash while writing, is skipped: its address was not
/// added yet.
fn still_there(text: &[u8]) -> BTreeSet<Ipv4Addr> {
    let mut added = BTreeSet::new();
    for line in String::from_utf8_lossy(text).split_inclusive('\n') {
        let Some(entry) = line.strip_suffix('\n') else {
            break;
        };
        if let Some(Ok(address)) = entry.strip_prefix('+').map(str::parse) {
            added.insert(address);
        } else if let Some(Ok(address)) = entry.strip_prefix('-').map(str::parse::<Ipv4Addr>) {
            added.remove(&address);
        }
    }
    added
}

/// Without the half line at the end.
fn whole_lines(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte == b'\n');
    &text[..end.map_or(0, |at| at + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_added_and_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("aliases");
        std::fs::write(&path, "+10.0.0.1\n+10.0.0.2\nrubbish\n-10.0.0.1\n+10.0.0.").unwrap();
        let added = |path: &Path| Loopback::open(path).unwrap().added;
        assert_eq!(added(&path), BTreeSet::from([Ipv4Addr::new(10, 0, 0, 2)]));
        assert_eq!(added(&directory.path().join("none")), BTreeSet::new());
    }

    #[test]
    fn half_a_line_does_not_spoil_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("aliases");
        std::fs::write(&path, "+10.0.0.1\n-10.0.0.1\n+10.0.0.").unwrap();
        let mut loopback = Loopback::open(&path).unwrap();
        loopback.note('+', Ipv4Addr::new(10, 0, 0, 2)).unwrap();
        assert_eq!(
            Loopback::open(&path).unwrap().added,
            BTreeSet::from([Ipv4Addr::new(10, 0, 0, 2)])
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn loopback_addresses_need_nothing_on_linux() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("aliases");
        let mut loopback = Loopback::open(&path).unwrap();
        loopback.ensure(Ipv4Addr::new(127, 1, 27, 1)).unwrap();
        loopback.remove(Ipv4Addr::new(127, 1, 27, 1)).unwrap();
        assert!(!path.exists());
    }

    /// Run by the test below in a network namespace; does nothing otherwise.
    #[test]
    fn helper_in_namespace() {
        let Some(directory) = std::env::var_os("KUBEFWD_TEST_LOOPBACK") else {
            return;
        };
        let path = PathBuf::from(directory).join("aliases");
        let (first, second) = (Ipv4Addr::new(10, 99, 0, 1), Ipv4Addr::new(10, 99, 0, 2));
        assert!(!is_local(first));
        let mut loopback = Loopback::open(&path).unwrap();
        loopback.ensure(first).unwrap();
        loopback.ensure(first).unwrap();
        loopback.ensure(second).unwrap();
        assert!(is_local(first) && is_local(second));
        loopback.remove(second).unwrap();
        assert!(is_local(first) && !is_local(second));
        drop(loopback);
        // As after a crash: the next start keeps what is asked for again, and takes back what is not.
        let mut loopback = Loopback::open(&path).unwrap();
        loopback.ensure(first).unwrap();
        loopback.drop_unclaimed();
        assert!(is_local(first));
        drop(loopback);
        let mut loopback = Loopback::open(&path).unwrap();
        assert!(is_local(first));
        loopback.drop_unclaimed();
        assert!(!is_local(first));
        loopback.ensure(first).unwrap();
        drop(loopback);
        // As after a reboot: the journal names what is no longer there.
        imp::remove(first).unwrap();
        let mut loopback = Loopback::open(&path).unwrap();
        loopback.ensure(first).unwrap();
        assert!(is_local(first));
        imp::remove(first).unwrap();
        loopback.remove(first).unwrap();
        loopback.clear().unwrap();
        println!("outcome: done");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn aliases_are_added_and_taken_back_also_after_a_crash() {
        let directory = tempfile::tempdir().unwrap();
        let unshare = |script: &str| {
            let mut command = std::process::Command::new("unshare");
            command.args(["-Urn", "--", "sh", "-ec", script, "sh"]);
            command
        };
        if !unshare("ip link set lo up")
            .status()
            .is_ok_and(|status| status.success())
        {
            println!("skipped: no user namespaces here");
            return;
        }
        let helper = "net::loopback::tests::helper_in_namespace";
        let output = unshare("ip link set lo up; exec \"$1\" --exact \"$2\" --nocapture")
            .arg(std::env::current_exe().unwrap())
            .arg(helper)
            .env("KUBEFWD_TEST_LOOPBACK", directory.path())
            .output()
            .unwrap();
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("outcome: done"),
            "{output:?}"
        );
    }
}
