//! Who listens on a port that we wanted.

use std::net::Ipv4Addr;

/// The listener that keeps `address:port`, as far as it can be told.
#[cfg(target_os = "linux")]
pub(super) fn find(address: Ipv4Addr, port: u16) -> Option<String> {
    let rows = super::proc_tcp::rows();
    let holders = rows.iter().filter(|row| row.holds(address, port));
    // A listener on the very address says more than one on all addresses.
    let row = holders.min_by_key(|row| row.local.ip().is_unspecified())?;
    let local = row.local;
    let Some(pid) = process_of(row.inode) else {
        return Some(format!(
            "a listener on {local} whose process is not visible here"
        ));
    };
    let Ok(program) = std::fs::read_to_string(format!("/proc/{pid}/comm")) else {
        return Some(format!("pid {pid}, which listens on {local}"));
    };
    // A program may name itself with anything.
    let program = program.trim_end().replace(char::is_control, "?");
    Some(format!("{program} (pid {pid}), which listens on {local}"))
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
pub(super) fn find(_address: Ipv4Addr, _port: u16) -> Option<String> {
    None
}
