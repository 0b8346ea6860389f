//! Who listens on a port that we wanted.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

/// The listener that is in the way, as far as it can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortOwner {
    /// The address and port that it listens on.
    pub address: SocketAddr,
    /// Its process.
    pub pid: Option<u32>,
    /// The name of its program.
    pub program: Option<String>,
}

impl fmt::Display for PortOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.program, self.pid) {
            (Some(program), Some(pid)) => write!(
                f,
                "{program} (pid {pid}), which listens on {}",
                self.address
            ),
            (None, Some(pid)) => write!(f, "pid {pid}, which listens on {}", self.address),
            _ => write!(
                f,
                "a listener on {} whose process is not visible here",
                self.address
            ),
        }
    }
}

/// Finds the listener that keeps `address:port`.
#[cfg(target_os = "linux")]
pub(super) fn find(address: Ipv4Addr, port: u16) -> Option<PortOwner> {
    let rows = super::proc_tcp::rows();
    let holders = rows.iter().filter(|row| row.holds(address, port));
    // A listener on the very address says more than one on all addresses.
    let row = holders.min_by_key(|row| row.local.ip().is_unspecified())?;
    let pid = process_of(row.inode);
    let program = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    // A program may name itself with anything.
    let program = program.map(|name| name.trim_end().replace(char::is_control, "?"));
    Some(PortOwner {
        address: row.local,
        pid,
        program,
    })
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
pub(super) fn find(_address: Ipv4Addr, _port: u16) -> Option<PortOwner> {
    None
}
