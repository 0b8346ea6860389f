//! The daemon's unix sockets: open to every user, since the kernel says who connects and policy decides.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::sys::stat::{Mode, umask};

/// A socket in the file system; removed when it is dropped.
pub(super) struct Bound {
    path: PathBuf,
    listener: UnixListener,
}

// === impl Bound ===

impl Bound {
    /// Binds, in place of a socket that nobody listens on any more.
    ///
    /// # Errors
    /// When somebody listens there, or the file system refuses.
    pub(super) fn new(path: &Path) -> Result<Self> {
        super::make_parent(path)?;
        match UnixStream::connect(path) {
            Ok(_) => bail!(
                "{} is in use: another kubefwdd runs; stop it, or give this one another --socket",
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
            .with_context(|| format!("cannot open {} to users", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            listener,
        })
    }

    /// The socket, for a server.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub(super) fn listener(&self) -> Result<UnixListener> {
        self.listener.try_clone().context("no descriptor is left")
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
