//! Namespaces of this process's own: users (without root), mounts, network.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// What could be had.
pub(crate) struct Sandbox {
    /// Root of the machine (or container), who may become other users.
    pub(crate) is_root: bool,
}

// === impl Sandbox ===

impl Sandbox {
    /// For listing tests only.
    pub(crate) fn none() -> Self {
        Self {
            is_root: geteuid().is_root(),
        }
    }

    /// Enters the namespaces. Must be called before any thread is started. A real cluster is reached over the machine's
    /// own network, so only mounts are private then, which needs root.
    pub(crate) fn enter(real: bool) -> Self {
        let (uid, gid) = (geteuid(), getegid());
        let is_root = uid.is_root();
        assert!(
            is_root || !real,
            "against a real cluster this suite has to run as root"
        );
        let mut flags = CloneFlags::CLONE_NEWNS;
        if !real {
            flags |= CloneFlags::CLONE_NEWNET;
        }
        if !is_root {
            flags |= CloneFlags::CLONE_NEWUSER;
        }
        unshare(flags).expect("this machine lets no user make namespaces; run as root");
        if !is_root {
            fs::write("/proc/self/setgroups", "deny").expect("setgroups can be denied");
            fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("a user can map itself");
            fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("a group can map itself");
        }
        let none: Option<&Path> = None;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(none, Path::new("/"), none, private, none).expect("mounts can be made private");
        if !real {
            let up = Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status();
            assert!(
                up.is_ok_and(|up| up.success()),
                "ip (package iproute2) has to bring lo up"
            );
        }
        Self { is_root }
    }
}

/// Puts `file` in the place of `target` for this process and its children.
pub(crate) fn bind_over(file: &Path, target: &Path) {
    let none: Option<&Path> = None;
    mount(Some(file), target, none, MsFlags::MS_BIND, none)
        .expect("a file can be mounted over another");
}

/// Makes what is mounted at `target` read-only, for root too.
pub(crate) fn make_read_only(target: &Path) {
    let none: Option<&Path> = None;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(none, target, none, flags, none).expect("a mount can be made read-only");
}

/// Takes a mount away.
pub(crate) fn unbind(target: &Path) {
    nix::mount::umount(target).expect("what was mounted can be unmounted");
}
