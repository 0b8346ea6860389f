//! The only module of the daemon with `unsafe` in it: what the operating system offers no safe form of.
//!
//! Each function here does one thing, says why it is sound, and is small enough to be read in one go.

#![expect(unsafe_code, reason = "this is the one place for it")]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
#[cfg(target_os = "macos")]
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Gid, Uid};

/// The descriptor number under which a worker finds its channel.
pub(crate) const CHANNEL_FD: RawFd = 3;

/// Who a worker is to become.
pub(crate) struct Identity {
    /// The user.
    pub uid: Uid,
    /// The user's primary group.
    pub gid: Gid,
    /// All groups, the primary first (macOS takes the effective group from there).
    pub groups: Vec<Gid>,
}

/// Makes `command` drop every privilege between fork and exec: groups, gid, uid, in this order (after setuid the others
/// would be refused), then asserts that they are gone and cannot come back. `None` stays who it is.
///
/// What pam_loginuid and pam_keyinit do at a login is done here: the audit log names the user, and the session keyring,
/// which every process of a session may read, is the child's own.
///
/// The child keeps standard input, output, error and `channel` as [`CHANNEL_FD`]; every other descriptor is closed on
/// exec. It starts in `home`, or in `/` where that cannot be entered, with umask 077 and default signals.
pub(crate) fn become_user_on_exec(
    command: &mut Command,
    identity: Option<Identity>,
    channel: RawFd,
    home: CString,
) {
    let login_uid = identity
        .as_ref()
        .map(|identity| identity.uid.to_string())
        .unwrap_or_default();
    let prepare = move || {
        if let Some(identity) = &identity {
            set_login_uid(login_uid.as_bytes());
            drop_privileges(identity)?;
        }
        own_session_keyring()?;
        // SAFETY: plain system calls on numbers and a string that outlives them; all async-signal-safe.
        unsafe {
            libc::umask(0o077);
            if libc::chdir(home.as_ptr()) != 0 && libc::chdir(c"/".as_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            // A session of its own: signals to the daemon's terminal are not the worker's.
            libc::setsid();
            if channel == CHANNEL_FD {
                Errno::result(libc::fcntl(channel, libc::F_SETFD, 0))?;
            } else {
                Errno::result(libc::dup2(channel, CHANNEL_FD))?;
            }
        }
        close_on_exec_from(CHANNEL_FD + 1)
    };
    // SAFETY: `prepare` runs in the child between fork and exec, where only async-signal-safe calls are allowed: it makes
    // system calls on data that was allocated before, and allocates nothing itself.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Becomes `identity` for good.
fn drop_privileges(identity: &Identity) -> io::Result<()> {
    let (uid, gid) = (identity.uid.as_raw(), identity.gid.as_raw());
    let groups = identity.groups.as_ptr().cast::<libc::gid_t>();
    // SAFETY: `Gid` is a transparent wrapper of `gid_t`, and the slice lives through the call; the rest are numbers.
    unsafe {
        // The number's type differs between systems; a list longer than the system allows is refused by it.
        Errno::result(libc::setgroups(identity.groups.len() as _, groups))?;
        Errno::result(libc::setgid(gid))?;
        Errno::result(libc::setuid(uid))?;
        let gone = libc::getuid() == uid
            && libc::geteuid() == uid
            && libc::getgid() == gid
            && libc::getegid() == gid
            && (uid == 0 || libc::setuid(0) != 0);
        if !gone {
            return Err(Errno::EPERM.into());
        }
    }
    Ok(())
}

/// Tells the audit subsystem who is to answer for this process and its children, while root may. A kernel without audit,
/// and a container that may not, leave it as it was.
#[cfg(target_os = "linux")]
fn set_login_uid(uid: &[u8]) {
    // SAFETY: a path that ends in NUL, a buffer with its length, and the descriptor that was just opened.
    unsafe {
        let file = libc::open(
            c"/proc/self/loginuid".as_ptr(),
            libc::O_WRONLY | libc::O_CLOEXEC,
        );
        if file >= 0 {
            libc::write(file, uid.as_ptr().cast(), uid.len());
            libc::close(file);
        }
    }
}

/// Replaces the inherited session keyring by a new one that leads to the user's own keys, as pam_keyinit(8) does: who
/// shares a session keyring reads every key in it, whatever user it is (session-keyring(7)).
#[cfg(target_os = "linux")]
fn own_session_keyring() -> io::Result<()> {
    /// Of keyctl(2).
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    const LINK: libc::c_int = 8;
    const SESSION_KEYRING: libc::c_int = -3;
    const USER_KEYRING: libc::c_int = -4;
    let no_name: *const libc::c_char = std::ptr::null();
    // SAFETY: system calls on numbers, and on no name.
    unsafe {
        let joined = libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, no_name);
        match Errno::result(joined) {
            Ok(_) => {}
            // A kernel without keyrings, or a container in which nobody may use them.
            Err(Errno::ENOSYS | Errno::EPERM) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        // Without it the user's keys are found by those only who name that keyring.
        libc::syscall(libc::SYS_keyctl, LINK, USER_KEYRING, SESSION_KEYRING);
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn set_login_uid(_uid: &[u8]) {}

#[cfg(not(target_os = "linux"))]
fn own_session_keyring() -> io::Result<()> {
    Ok(())
}

/// Whether the account of this name has expired (shadow(5)); `false` where that is not known.
#[cfg(target_os = "linux")]
pub(crate) fn is_expired(name: &str) -> bool {
    const DAY: u64 = 86_400;
    /// More than the entry of any account takes.
    const ENTRY: usize = 16 * 1024;
    let Ok(name) = CString::new(name) else {
        return false;
    };
    let mut buffer = [0; ENTRY];
    let mut found = std::ptr::null_mut();
    // SAFETY: all zero is a valid value of a structure of numbers and pointers.
    let mut entry: libc::spwd = unsafe { std::mem::zeroed() };
    // SAFETY: the name ends in NUL; entry, buffer with its length, and result live through the call, which writes to them
    // only, and the entry is read while they live.
    let expires = unsafe {
        libc::getspnam_r(
            name.as_ptr(),
            &raw mut entry,
            buffer.as_mut_ptr(),
            buffer.len(),
            &raw mut found,
        );
        found.as_ref().map_or(-1, |entry| entry.sp_expire)
    };
    let today = std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |now| now.as_secs() / DAY);
    u64::try_from(expires).is_ok_and(|expires| expires <= today)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_expired(_name: &str) -> bool {
    false
}

/// Marks every descriptor from `first` on to be closed by exec. Marked and not closed: the standard library reports a
/// failed exec over a descriptor of its own.
#[cfg(target_os = "linux")]
fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: a system call on numbers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first as libc::c_uint,
            libc::c_uint::MAX,
            CLOSE_RANGE_CLOEXEC,
        )
    };
    // Kernels before 5.11 do not know the flag: everything the daemon opens is close-on-exec from its start anyway.
    match Errno::result(result) {
        Ok(_) | Err(Errno::EINVAL | Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// As above; macOS has no `close_range`.
#[cfg(not(target_os = "linux"))]
fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: system calls on numbers; a number that is not a descriptor is refused with EBADF, which does no harm.
    unsafe {
        let limit = libc::getdtablesize();
        for descriptor in first..limit {
            libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
    Ok(())
}

/// Gives `new` the labels of `old` that are neither mode nor owner: the SELinux context and the access list.
///
/// # Errors
/// When a label of `old` cannot be given to `new`; a file system without labels is not an error.
#[cfg(target_os = "linux")]
pub(crate) fn copy_labels(old: &File, new: &File) -> io::Result<()> {
    for name in [c"security.selinux", c"system.posix_acl_access"] {
        let mut value = [0u8; 64 << 10];
        // SAFETY: the name ends in NUL, the pointer and length are those of a buffer that lives through the call.
        let length = unsafe {
            libc::fgetxattr(
                old.as_raw_fd(),
                name.as_ptr(),
                value.as_mut_ptr().cast(),
                value.len(),
            )
        };
        // Negative: the file has no such label, or its file system has none at all.
        let Ok(length) = usize::try_from(length) else {
            continue;
        };
        // SAFETY: as above; the system only reads `length` bytes, which it has just written there.
        let result = unsafe {
            libc::fsetxattr(
                new.as_raw_fd(),
                name.as_ptr(),
                value.as_ptr().cast(),
                length,
                0,
            )
        };
        Errno::result(result)?;
    }
    Ok(())
}

/// As above, for macOS: access list and extended attributes.
///
/// # Errors
/// When they cannot be given to `new`.
#[cfg(target_os = "macos")]
pub(crate) fn copy_labels(old: &File, new: &File) -> io::Result<()> {
    let flags = libc::COPYFILE_ACL | libc::COPYFILE_XATTR;
    // SAFETY: two descriptors that live through the call, and no state object.
    let result = unsafe {
        libc::fcopyfile(
            old.as_raw_fd(),
            new.as_raw_fd(),
            std::ptr::null_mut(),
            flags,
        )
    };
    Errno::result(result)?;
    Ok(())
}

/// The sockets that the service manager opened for us, with the names it gives them. Gives them once: a second call
/// gives nothing.
///
/// systemd hands over all sockets of the unit (`LISTEN_FDS`, sd_listen_fds(3)), whatever `names` are.
///
/// # Errors
/// When a descriptor that was announced is none.
#[cfg(not(target_os = "macos"))]
pub(crate) fn inherited_sockets(_names: &[&CStr]) -> io::Result<Vec<(String, OwnedFd)>> {
    if SOCKETS_TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names = names
        .split(':')
        .map(str::to_owned)
        .chain(std::iter::repeat(String::new()));
    let adopt = |(descriptor, name)| {
        // SAFETY: it is open, or it could not have been marked to be closed on exec, and the service manager gave it to this
        // process to own; the flag above lets nobody take it twice.
        (name, unsafe { OwnedFd::from_raw_fd(descriptor) })
    };
    Ok(sd_notify::listen_fds()?.zip(names).map(adopt).collect())
}

/// As above, for macOS: launchd is asked for each of `names`, the keys under `Sockets` in the property list.
///
/// # Errors
/// When launchd answers with an error other than that it does not manage us or has no such name.
#[cfg(target_os = "macos")]
pub(crate) fn inherited_sockets(names: &[&CStr]) -> io::Result<Vec<(String, OwnedFd)>> {
    unsafe extern "C" {
        fn launch_activate_socket(
            name: *const libc::c_char,
            descriptors: *mut *mut libc::c_int,
            count: *mut libc::size_t,
        ) -> libc::c_int;
    }
    let mut found = Vec::new();
    if SOCKETS_TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(found);
    }
    for name in names {
        let mut descriptors = std::ptr::null_mut();
        let mut count = 0;
        // SAFETY: the name ends in NUL, the other two are written before they are read.
        match unsafe { launch_activate_socket(name.as_ptr(), &mut descriptors, &mut count) } {
            0 => {}
            libc::ESRCH | libc::ENOENT => continue,
            error => return Err(io::Error::from_raw_os_error(error)),
        }
        for index in 0..count {
            // SAFETY: launchd allocated `count` descriptors there, which are ours to own.
            let descriptor = unsafe { OwnedFd::from_raw_fd(*descriptors.add(index)) };
            // SAFETY: a system call on a descriptor that is open.
            unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
            found.push((name.to_string_lossy().into_owned(), descriptor));
        }
        // SAFETY: allocated by launchd with malloc for us to free, and not used again.
        unsafe { libc::free(descriptors.cast()) };
    }
    Ok(found)
}

/// Whether [`inherited_sockets`] has given its sockets away.
static SOCKETS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Adds `address` to `lo0`, as `ifconfig lo0 alias ADDRESS/32` does.
///
/// # Errors
/// When the system refuses.
#[cfg(target_os = "macos")]
pub(crate) fn add_loopback_alias(address: Ipv4Addr) -> io::Result<()> {
    /// `_IOW('i', 26, struct ifaliasreq)` of sys/sockio.h.
    const SIOCAIFADDR: libc::c_ulong = 0x8040_691a;
    /// `struct ifaliasreq` of net/if.h; the one of libc cannot be made outside of it.
    #[repr(C)]
    struct Request {
        name: [libc::c_char; libc::IFNAMSIZ],
        address: libc::sockaddr,
        broadcast: libc::sockaddr,
        mask: libc::sockaddr,
    }
    const { assert!(size_of::<Request>() == 0x40) };
    let request = Request {
        name: loopback_name(),
        address: socket_address(address),
        broadcast: socket_address(address),
        mask: socket_address(Ipv4Addr::BROADCAST),
    };
    loopback_request(SIOCAIFADDR, &request)
}

/// Removes `address` from `lo0`.
///
/// # Errors
/// When the system refuses; `AddrNotAvailable` where it is not there.
#[cfg(target_os = "macos")]
pub(crate) fn remove_loopback_alias(address: Ipv4Addr) -> io::Result<()> {
    /// `_IOW('i', 25, struct ifreq)` of sys/sockio.h.
    const SIOCDIFADDR: libc::c_ulong = 0x8020_6919;
    /// The part of `struct ifreq` that this call reads.
    #[repr(C)]
    struct Request {
        name: [libc::c_char; libc::IFNAMSIZ],
        address: libc::sockaddr,
    }
    const { assert!(size_of::<Request>() == 0x20) };
    let request = Request {
        name: loopback_name(),
        address: socket_address(address),
    };
    loopback_request(SIOCDIFADDR, &request)
}

#[cfg(target_os = "macos")]
fn loopback_request<T>(request: libc::c_ulong, argument: &T) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    // SAFETY: the callers pass the structure whose size is part of the request's number; the system only reads it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request, std::ptr::from_ref(argument)) };
    Errno::result(result)?;
    Ok(())
}

#[cfg(target_os = "macos")]
fn loopback_name() -> [libc::c_char; libc::IFNAMSIZ] {
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(b"lo0") {
        *to = from.cast_signed();
    }
    name
}

/// A `struct sockaddr_in` in the form of the general one: length, family, port, address.
#[cfg(target_os = "macos")]
fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data[2..].iter_mut().zip(address.octets()) {
        *to = from.cast_signed();
    }
    libc::sockaddr {
        sa_len: 16,
        sa_family: libc::AF_INET as libc::sa_family_t,
        sa_data: data,
    }
}

/// The kernel's list of TCP connections, for `peer::pcblist` to read.
///
/// # Errors
/// When the system refuses.
#[cfg(target_os = "macos")]
pub(crate) fn tcp_control_blocks() -> io::Result<Vec<u8>> {
    const NAME: &CStr = c"net.inet.tcp.pcblist_n";
    let ask = |buffer: *mut libc::c_void, length: &mut usize| {
        // SAFETY: the name ends in NUL; the buffer is null or has `length` bytes, of which the system writes at most
        // that many and stores how many.
        Errno::result(unsafe {
            libc::sysctlbyname(NAME.as_ptr(), buffer, length, std::ptr::null_mut(), 0)
        })
    };
    let mut length = 0;
    ask(std::ptr::null_mut(), &mut length)?;
    // Connections may appear between the two calls.
    length += length / 8 + 4096;
    let mut list = vec![0u8; length];
    ask(list.as_mut_ptr().cast(), &mut length)?;
    list.truncate(length);
    Ok(list)
}

/// Lets all threads share one heap. glibc gives each its own otherwise, and what one has freed is of no use to the others.
/// To be called before there is a second thread.
pub(crate) fn share_one_heap() {
    // SAFETY: mallopt takes two numbers; it only changes how later calls of malloc choose where to allocate.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1)
    };
}

/// Gives the memory that was freed so far back to the system, which glibc does not do by itself.
pub(crate) fn release_freed_memory() {
    // SAFETY: malloc_trim takes no pointer, touches freed memory only, and locks what it works on.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0)
    };
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Read;

    use super::*;

    const HELPER: &str = "sys::tests::helper_with_inherited_sockets";

    /// Run by the test below with a descriptor to inherit; does nothing otherwise.
    #[test]
    fn helper_with_inherited_sockets() {
        if std::env::var_os("LISTEN_FDNAMES").is_none() {
            return;
        }
        let mut found = inherited_sockets(&[]).unwrap();
        let (name, descriptor) = found.pop().unwrap();
        assert!(found.is_empty());
        let mut text = String::new();
        File::from(descriptor).read_to_string(&mut text).unwrap();
        println!("outcome: {name} {text}");
        assert!(
            inherited_sockets(&[]).unwrap().is_empty(),
            "they are given once"
        );
    }

    #[test]
    fn descriptors_of_the_service_manager_are_taken_if_they_are_for_us() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, b"content").unwrap();
        let run = |pid: &str| {
            let script = format!(
                "LISTEN_PID={pid} LISTEN_FDS=1 LISTEN_FDNAMES=control exec \"$0\" --exact {HELPER} --nocapture 3<\"$1\""
            );
            let mut command = Command::new("sh");
            command
                .args(["-c", &script])
                .arg(std::env::current_exe().unwrap())
                .arg(file.path());
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        assert!(run("$$").contains("outcome: control content"));
        assert!(!run("1").contains("outcome"), "somebody else's");
    }
}
