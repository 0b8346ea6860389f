//! The daemon's unix sockets: open to every user, since the kernel says who connects and policy decides.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::sys::stat::{Mode, umask};

use super::activation::Inherited;

/// A socket in the file system; removed when it is dropped, unless the service manager listens on it.
pub(super) struct Bound {
    listener: UnixListener,
    /// Ours to remove.
    path: Option<PathBuf>,
}

// === impl Bound ===

impl Bound {
    /// Takes the service manager's socket at this path, else binds, in place of a socket that nobody listens on.
    ///
    /// # Errors
    /// When somebody listens there, or the file system refuses.
    pub(super) fn new(path: &Path, inherited: &mut Inherited) -> Result<Self> {
        if let Some(listener) = inherited.unix(path) {
            return Ok(Self {
                listener,
                path: None,
            });
        }
        super::make_parent(path)?;
        match UnixStream::connect(path) {
            Ok(_) => bail!(
                "{} is in use: another kubefwdd is running, or the service manager listens there for one; stop it \
                 (`systemctl stop kubefwdd`), or use another --socket and --rest-socket",
                path.display()
            ),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path)
                    .with_context(|| format!("cannot remove the stale {}", path.display()))?;
            }
            Err(_) => {}
        }
        // From the start as it will be: no moment with other permissions. No other thread makes files yet.
        let before = umask(Mode::empty());
        let bound = UnixListener::bind(path);
        umask(before);
        let listener = bound.with_context(|| format!("cannot listen on {}", path.display()))?;
        fs::set_permissions(path, Permissions::from_mode(0o666))
            .with_context(|| format!("cannot make {} accessible to users", path.display()))?;
        Ok(Self {
            listener,
            path: Some(path.to_owned()),
        })
    }

    /// The socket, for a server.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub(super) fn listener(&self) -> Result<UnixListener> {
        self.listener
            .try_clone()
            .context("no file descriptor is left")
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}
