//! What the kernel says about processes, sockets and addresses in this network namespace.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::Command;

/// The processes with this program's name in the network namespace that this one is in.
///
/// # Panics
/// When the own namespace is unknown.
#[must_use]
pub fn processes(name: &str) -> Vec<u32> {
    let own = fs::read_link("/proc/self/ns/net").expect("a process may see its own namespaces");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let process = PathBuf::from(format!("/proc/{pid}"));
        // The kernel keeps 15 bytes of a name.
        let has_name = fs::read_to_string(process.join("comm"))
            .is_ok_and(|comm| comm.trim_end() == &name[..name.len().min(15)]);
        has_name && fs::read_link(process.join("ns/net")).is_ok_and(|net| net == own)
    })
    .collect()
}

/// All listening TCP sockets over IPv4.
#[must_use]
pub fn listeners() -> BTreeSet<SocketAddrV4> {
    const LISTEN: &str = "0A";
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let sockets = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next()?, fields.nth(1)?);
        let (address, port) = local.split_once(':')?;
        let address = u32::from_str_radix(address, 16).ok()?;
        let socket = SocketAddrV4::new(
            Ipv4Addr::from(address.to_ne_bytes()),
            u16::from_str_radix(port, 16).ok()?,
        );
        (state == LISTEN).then_some(socket)
    });
    sockets.collect()
}

/// The IPv4 addresses of the loopback interface.
///
/// # Panics
/// Without `ip` (package iproute2).
#[must_use]
pub fn loopback_addresses() -> BTreeSet<Ipv4Addr> {
    let output = Command::new("ip")
        .args(["-o", "-4", "addr", "show", "dev", "lo"])
        .output()
        .expect("`ip` (package iproute2) can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.find(|word| *word == "inet")?;
        words.next()?.split('/').next()?.parse().ok()
    });
    words.collect()
}

/// What one process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Memory in RAM, bytes, with what it shares.
    pub resident: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// What a process holds now; `None` when it has ended.
#[must_use]
pub fn held(pid: u32) -> Option<Held> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(Held {
        resident: field("VmRSS:")? * 1024,
        descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
        threads: field("Threads:")?,
    })
}

/// The most memory in RAM that a process has had so far, bytes.
#[must_use]
pub fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}
