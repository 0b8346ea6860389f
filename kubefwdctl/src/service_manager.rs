//! How the daemon is started and where its log is, per operating system and service manager.

use std::path::Path;

/// Shows the daemon's log.
#[cfg(target_os = "macos")]
pub(crate) const LOG_COMMAND: &str = "log show --last 10m --predicate 'process == \"kubefwdd\"'";
/// Shows the daemon's log.
#[cfg(not(target_os = "macos"))]
pub(crate) const LOG_COMMAND: &str = "journalctl -u kubefwdd -e";

/// What starts and supervises the daemon on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    /// systemd is process 1.
    Systemd,
    /// macOS.
    Launchd,
    /// Containers, other inits.
    None,
}

impl Manager {
    /// The manager of this machine.
    pub(crate) fn of_this_machine() -> Self {
        if cfg!(target_os = "macos") {
            Self::Launchd
        } else if Path::new("/run/systemd/system").is_dir() {
            // The directory that sd_booted(3) looks for.
            Self::Systemd
        } else {
            Self::None
        }
    }

    /// The command that starts the daemon.
    pub(crate) fn start_command(self) -> &'static str {
        match self {
            Self::Systemd => "sudo systemctl start kubefwdd",
            Self::Launchd => {
                "sudo launchctl bootstrap system /Library/LaunchDaemons/dev.kubefwd.kubefwdd.plist"
            }
            Self::None => "sudo kubefwdd",
        }
    }

    /// The command that restarts the daemon.
    pub(crate) fn restart_command(self) -> &'static str {
        match self {
            Self::Systemd => "sudo systemctl restart kubefwdd",
            Self::Launchd => "sudo launchctl kickstart -k system/dev.kubefwd.kubefwdd",
            Self::None => "stop kubefwdd and run: sudo kubefwdd",
        }
    }

    /// The command that allows a user to use the daemon.
    pub(crate) fn join_group_command(self, user: &str) -> String {
        match self {
            Self::Launchd => format!("sudo dseditgroup -o edit -a {user} -t user kubefwd"),
            Self::Systemd | Self::None => format!("sudo usermod -aG kubefwd {user}"),
        }
    }
}
