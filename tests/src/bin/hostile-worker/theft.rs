//! What a user can do with what a worker is given: its listeners, its keyrings and its standard error.
//!
//! What came of it is written to `$HOME/loot`, for the test to read.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use kubefwd_proto::worker::v1::to_worker;
use kubefwd_tests::harness::keyring;
use nix::sys::socket::{Backlog, Shutdown, SockaddrIn, connect, listen, shutdown};

use super::{Worker, service, services};

/// The key that one user leaves and another looks for.
const KEY: &str = "kubefwd-test";
/// A service of the user's own.
const OWN: &str = "edge";

impl Worker {
    /// Turns a listener, which root has bound, into a client of REST.
    pub(super) async fn impersonate(&mut self) -> Result<()> {
        let socket = self.listener().await?;
        shutdown(socket.as_raw_fd(), Shutdown::Both)?;
        let api: SocketAddr = "127.2.27.1:80".parse()?;
        let SocketAddr::V4(api) = api else {
            bail!("not an IPv4 address")
        };
        let mut stream = TcpStream::from(socket);
        stream.set_nonblocking(false)?;
        connect(stream.as_raw_fd(), &SockaddrIn::from(api))?;
        let request = "GET /api/v1/namespaces HTTP/1.1\r\nHost: kubefwd.internal\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        keep_loot(&answer)
    }

    /// Listens again on a port that the daemon has taken back.
    pub(super) async fn listen_after_revocation(&mut self) -> Result<()> {
        let socket = self.listener().await?;
        loop {
            let (frame, _) = self
                .receiver
                .receive()
                .await?
                .context("the daemon is gone")?;
            if matches!(frame.frame, Some(to_worker::Frame::Revoke(_))) {
                break;
            }
        }
        // The daemon shuts it down a moment later, after which it can be listened on again.
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(false)?;
        while listener.accept().is_ok() {}
        listen(&listener, Backlog::new(8)?)?;
        keep_loot(&listener.local_addr()?.to_string())?;
        self.hear_out().await
    }

    /// A listener of the user's own service.
    async fn listener(&mut self) -> Result<OwnedFd> {
        self.is_wanted().await?;
        self.say(services("sim", "demo", vec![service(OWN)]))
            .await?;
        loop {
            let frame = self.receiver.receive().await?;
            if let (_, Some(listener)) = frame.context("the daemon gives no listener")? {
                return Ok(listener);
            }
        }
    }
}

/// Leaves a key where every process of this session finds it.
pub(super) fn leave_key() -> Result<()> {
    keep_loot(&format!("left {:?}", keyring::add(KEY, "secret")))
}

/// Looks for the key that another left.
pub(super) fn find_key() -> Result<()> {
    keep_loot(&format!("found {:?}", keyring::search(KEY)))
}

/// Writes to what the daemon left as standard error, and says what it is.
pub(super) fn use_standard_error() -> Result<()> {
    let target = std::fs::read_link("/proc/self/fd/2")?;
    // As an error output may be opened again by its name.
    let truncated = std::fs::File::create("/proc/self/fd/2").is_ok();
    let mut error = io::stderr();
    error.write_all(b"kubefwdd: forged\n\x1b[31mred\n")?;
    for _ in 0..5_000 {
        error.write_all(b"a line of a flood\n")?;
    }
    keep_loot(&format!("{} {truncated}", target.display()))
}

/// The user that the audit log blames.
pub(super) fn login_user() -> Result<()> {
    keep_loot(&std::fs::read_to_string("/proc/self/loginuid")?)
}

fn keep_loot(text: &str) -> Result<()> {
    let home = std::env::var_os("HOME").context("the daemon gives a HOME")?;
    let path = PathBuf::from(home).join("loot");
    // Whoever sees the file sees all of it.
    let unfinished = path.with_extension("new");
    std::fs::write(&unfinished, text)?;
    Ok(std::fs::rename(unfinished, path)?)
}
