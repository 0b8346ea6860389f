//! Who listens on a port that we wanted.
//!
//! To find a socket's process takes a walk over all processes, which any local user can make longer: it is done once per port
//! and minute, and only so often in all.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// How long an answer holds.
const FRESH: Duration = Duration::from_secs(60);
/// As many walks may begin in [`SPAN`]. What is asked beyond that is answered with the next attempt to listen.
const WALKS: usize = 10;
const SPAN: Duration = Duration::from_secs(2);
/// Ports that are remembered; of more, only those that are fresh.
const MAX_KNOWN: usize = 1_024;

/// Finds the owners of ports, and remembers them for a while.
#[derive(Debug, Default)]
pub(super) struct PortOwners {
    known: HashMap<u16, Known>,
    /// When the latest walks ended, the oldest first.
    walks: VecDeque<Instant>,
}

#[derive(Debug)]
struct Known {
    at: Instant,
    /// Each listener's address, and who it is.
    holders: Vec<(IpAddr, String)>,
}

// === impl PortOwners ===

impl PortOwners {
    /// The listener that keeps `address:port`, as far as it can be told now.
    pub(super) fn find(&mut self, address: Ipv4Addr, port: u16) -> Option<String> {
        let now = Instant::now();
        let known = self.known.get(&port);
        let is_fresh = known.is_some_and(|known| now - known.at < FRESH);
        self.walks.retain(|walk| now - *walk < SPAN);
        if !is_fresh && self.walks.len() < WALKS {
            let holders = holders(port);
            let at = Instant::now();
            self.walks.push_back(at);
            if self.known.len() >= MAX_KNOWN {
                self.known.retain(|_, known| now - known.at < FRESH);
            }
            self.known.insert(port, Known { at, holders });
        }
        let known = self.known.get(&port)?;
        let mut holders = known
            .holders
            .iter()
            .filter(|(local, _)| *local == address || local.is_unspecified())
            .collect::<Vec<_>>();
        // A listener on the very address says more than one on all addresses.
        holders.sort_by_key(|(local, _)| local.is_unspecified());
        holders.first().map(|(_, holder)| holder.clone())
    }
}

/// Everybody who listens on a port.
#[cfg(target_os = "linux")]
fn holders(port: u16) -> Vec<(IpAddr, String)> {
    let rows = super::proc_tcp::rows();
    let holders = rows
        .iter()
        .filter(|row| row.state == super::proc_tcp::LISTEN && row.local.port() == port);
    let holders = holders.map(|row| {
        let local = row.local;
        let holder = match process_of(row.inode) {
            None => format!("a listener on {local} whose process is not visible here"),
            Some(pid) => match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
                Err(_) => format!("pid {pid}, which listens on {local}"),
                Ok(program) => {
                    // A program may name itself with anything.
                    let program = program.trim_end().replace(char::is_control, "?");
                    format!("{program} (pid {pid}), which listens on {local}")
                }
            },
        };
        (local.ip(), holder)
    });
    holders.collect()
}

/// The first process that has the socket.
#[cfg(target_os = "linux")]
fn process_of(inode: u64) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has_socket = |pid: &u32| {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        let mut links = descriptors
            .flatten()
            .filter_map(|entry| entry.path().read_link().ok());
        links.any(|link| link.as_os_str() == wanted.as_str())
    };
    pids.into_iter().find(has_socket)
}

/// macOS tells this only through interfaces without a stable form; the error names the command.
#[cfg(not(target_os = "linux"))]
fn holders(_port: u16) -> Vec<(IpAddr, String)> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn an_answer_is_remembered_and_walks_are_few() {
        let address = Ipv4Addr::new(127, 200, 0, 9);
        let listen = || std::net::TcpListener::bind((address, 0)).unwrap();
        let (first, second) = (listen(), listen());
        let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
        let (one, two) = (port(&first), port(&second));
        let mut owners = PortOwners::default();
        let found = owners.find(address, one).unwrap();
        assert!(
            found.contains(&format!("(pid {})", std::process::id())),
            "{found}"
        );
        drop(first);
        assert_eq!(owners.find(address, one), Some(found), "for a minute");
        owners.walks = std::iter::repeat_n(Instant::now(), WALKS).collect();
        assert_eq!(owners.find(address, two), None, "there were enough");
        owners.walks.clear();
        assert!(owners.find(address, two).is_some());
        assert_eq!(owners.find(Ipv4Addr::new(127, 200, 0, 8), two), None);
    }
}
