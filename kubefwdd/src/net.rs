//! Local addresses and listening ports.

mod fd_store;
mod listen;
pub(crate) mod loopback;
mod port_owner;
#[cfg(target_os = "linux")]
pub(crate) mod proc_tcp;

/// Where programs of this machine listen, and whose sockets those are; nothing on macOS, which does not tell.
pub(crate) fn listeners() -> Vec<(std::net::SocketAddr, kubefwd_model::Uid)> {
    #[cfg(target_os = "linux")]
    let rows = proc_tcp::rows();
    #[cfg(target_os = "linux")]
    let found = rows
        .into_iter()
        .filter(|row| row.state == proc_tcp::LISTEN)
        .map(|row| (row.local, row.uid))
        .collect();
    #[cfg(not(target_os = "linux"))]
    let found = Vec::new();
    found
}

pub(crate) use fd_store::FdStore;
pub(crate) use listen::{Listen, close};
pub(crate) use loopback::Loopback;
