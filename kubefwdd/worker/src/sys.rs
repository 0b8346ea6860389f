//! Calls into the operating system. The only file with `unsafe`.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::unistd::{getegid, geteuid, getgid, getuid};

/// What macOS allows a process whose hard limit is "unlimited".
const FALLBACK_LIMIT: u64 = 10_240;

/// Why the worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No channel to a daemon.
    #[error(
        "descriptor {0} is not a channel to kubefwdd: kubefwdd starts this program, and it does nothing on its own; \
         run `kubefwdctl status` to see whether the daemon is running"
    )]
    NoChannel(RawFd),
    /// It runs as root without `--allow-root`.
    #[error(
        "refusing to run as root: kubefwd-worker runs as the user whose kubeconfig it reads; kubefwdd passes --allow-root \
         when that user is root"
    )]
    Root,
    /// It has more privileges than the user.
    #[error("refusing to run with more privileges than the user has: {0}")]
    Privileged(String),
    /// The operating system does not say.
    #[error("cannot determine the privileges of this process")]
    Unknown(#[source] io::Error),
}

/// Keeps other programs of this user from reading the worker's memory and taking its descriptors: credentials, listeners
/// and the channel to the daemon (`PR_SET_DUMPABLE` of prctl(2)). Root still may.
pub fn refuse_tracing() {
    // It cannot fail: the value is one of those that prctl(2) knows.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
}

/// Takes over the daemon's channel, which was inherited as this descriptor, and marks it close-on-exec.
///
/// # Errors
/// [`StartError::NoChannel`] when there is no stream socket at this number.
pub fn adopt_channel(fd: RawFd) -> Result<UnixStream, StartError> {
    let is_socket = std::fs::metadata(format!("/dev/fd/{fd}"))
        .is_ok_and(|metadata| metadata.file_type().is_socket());
    if fd <= 2 || !is_socket {
        return Err(StartError::NoChannel(fd));
    }
    #[expect(
        unsafe_code,
        reason = "adopting an inherited descriptor has no safe form"
    )]
    // SAFETY: the descriptor is open, as was just seen; it was inherited for this purpose and nothing else in this
    // process knows of it: this runs before any thread or runtime is started.
    let channel = unsafe { OwnedFd::from_raw_fd(fd) };
    let is_stream =
        getsockopt(&channel, sockopt::SockType).is_ok_and(|kind| kind == SockType::Stream);
    let closes = fcntl(&channel, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).is_ok();
    if is_stream && closes {
        Ok(UnixStream::from(channel))
    } else {
        Err(StartError::NoChannel(fd))
    }
}

/// Refuses to run with more privileges than a user of this machine has.
///
/// # Errors
/// When it runs as root without `allow_root`, or as a user with capabilities or a second identity.
pub fn check_privilege(allow_root: bool) -> Result<(), StartError> {
    let (user, group) = (getuid(), getgid());
    if user != geteuid() || group != getegid() {
        return Err(StartError::Privileged(format!(
            "real and effective identity differ ({user}/{}, {group}/{})",
            geteuid(),
            getegid()
        )));
    }
    if user.is_root() {
        return allow_root.then_some(()).ok_or(StartError::Root);
    }
    check_capabilities()
}

#[cfg(target_os = "linux")]
fn check_capabilities() -> Result<(), StartError> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(StartError::Unknown)?;
    held_capabilities(&status).map_or(Ok(()), |line| {
        let held = format!("it has capabilities ({line})");
        Err(StartError::Privileged(held))
    })
}

#[cfg(not(target_os = "linux"))]
fn check_capabilities() -> Result<(), StartError> {
    Ok(())
}

/// The first line of proc_pid_status(5) that shows a capability that is, or could be made, effective.
#[cfg(any(target_os = "linux", test))]
fn held_capabilities(status: &str) -> Option<&str> {
    status.lines().find(|line| {
        let (name, value) = line.split_once(':').unwrap_or_default();
        let is_set = !value.trim().trim_matches('0').is_empty();
        is_set && matches!(name, "CapEff" | "CapPrm" | "CapAmb")
    })
}

/// Allows as many descriptors as the hard limit: one for each service and two for each connection. Returns the limit.
pub fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 0;
    };
    [hard, FALLBACK_LIMIT]
        .into_iter()
        .filter(|wanted| *wanted > soft)
        .find(|wanted| setrlimit(Resource::RLIMIT_NOFILE, *wanted, hard).is_ok())
        .unwrap_or(soft)
}

/// Returns freed memory to the system; glibc would keep it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn release_freed_memory() {
    #[expect(unsafe_code, reason = "malloc_trim has no safe wrapper")]
    // SAFETY: malloc_trim takes no pointer, touches freed memory only, and locks what it works on.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

/// Other allocators return memory by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn release_freed_memory() {}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use super::*;

    #[test]
    fn only_a_stream_socket_is_a_channel() {
        assert!(matches!(adopt_channel(1), Err(StartError::NoChannel(1))));
        assert!(adopt_channel(9_999).is_err());
        let file = std::fs::File::open("/dev/null").unwrap().into_raw_fd();
        assert!(adopt_channel(file).is_err());
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let adopted = adopt_channel(ours.into_raw_fd()).unwrap();
        let flags = fcntl(&adopted, FcntlArg::F_GETFD).unwrap();
        assert!(FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC));
    }

    #[test]
    fn capabilities_are_seen() {
        let status = "Name:\tx\nCapInh:\t0000000000000400\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n";
        assert_eq!(held_capabilities(status), None);
        let status = "CapPrm:\t0000000000000400\n";
        assert_eq!(held_capabilities(status), Some("CapPrm:\t0000000000000400"));
    }
}
