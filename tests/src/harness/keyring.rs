//! The session keyring of the test's process, which programs that it starts inherit (session-keyring(7)).

use std::ffi::CString;

use nix::errno::Errno;
use nix::libc;

/// `KEY_SPEC_SESSION_KEYRING` of keyctl(2).
const SESSION_KEYRING: libc::c_int = -3;
/// `KEYCTL_JOIN_SESSION_KEYRING` of keyctl(2).
const JOIN_SESSION_KEYRING: libc::c_int = 1;
/// `KEYCTL_SEARCH` of keyctl(2).
const SEARCH: libc::c_int = 10;

/// Gives this process a session keyring of its own, as a service manager gives one to a service.
///
/// # Panics
/// When the kernel refuses.
pub fn join_new_session() {
    let none: *const libc::c_char = std::ptr::null();
    #[expect(unsafe_code, reason = "there is no safe form of it")]
    // SAFETY: a number and no name.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, none) };
    Errno::result(joined).expect("a process may have a session keyring of its own");
}

/// Leaves a key where every process of this session finds it.
///
/// # Errors
/// What the kernel says.
///
/// # Panics
/// When the name is not one.
pub fn add(name: &str, payload: &str) -> nix::Result<i64> {
    let name = CString::new(name).expect("a key's name has no NUL");
    #[expect(unsafe_code, reason = "there is no safe form of it")]
    // SAFETY: two strings that end in NUL, and a buffer with its length; all live through the call.
    let added = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            name.as_ptr(),
            payload.as_ptr(),
            payload.len(),
            SESSION_KEYRING,
        )
    };
    Errno::result(added)
}

/// The number of the key of this name that this process finds.
///
/// # Errors
/// `ENOKEY` when there is none.
///
/// # Panics
/// When the name is not one.
pub fn search(name: &str) -> nix::Result<i64> {
    let name = CString::new(name).expect("a key's name has no NUL");
    #[expect(unsafe_code, reason = "there is no safe form of it")]
    // SAFETY: two strings that end in NUL and live through the call; the rest are numbers.
    let found = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            SEARCH,
            SESSION_KEYRING,
            c"user".as_ptr(),
            name.as_ptr(),
            0,
        )
    };
    Errno::result(found)
}
