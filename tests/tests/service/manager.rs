//! A service manager as far as the daemon can see one: it reads notifications, keeps descriptors, and passes them on.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use kubefwd_tests::harness::{Sandbox, eventually, programs};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// It lives as long as the test.
#[derive(Clone)]
pub(crate) struct Manager {
    path: PathBuf,
    heard: Arc<Mutex<Heard>>,
}

/// What the daemons said.
#[derive(Default)]
struct Heard {
    messages: Vec<String>,
    /// The store of descriptors, in the order in which they came.
    stored: Vec<(String, OwnedFd)>,
}

impl Manager {
    pub(crate) fn new(sandbox: &Sandbox) -> Self {
        let path = sandbox.path("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = Self {
            path,
            heard: Arc::default(),
        };
        let heard = manager.heard.clone();
        std::thread::spawn(move || {
            while let Some((message, descriptors)) = receive(&socket) {
                heard.lock().unwrap().take(message, descriptors);
            }
        });
        manager
    }

    /// A command line that starts the daemon as a service, with these sockets and everything that is stored.
    pub(crate) fn command(&self, sockets: &[&UnixListener]) -> Command {
        let heard = self.heard.lock().unwrap();
        let given = sockets
            .iter()
            .map(|socket| ("kubefwdd.socket", socket.as_raw_fd()));
        let stored = heard.stored.iter();
        let stored = stored.map(|(name, socket)| (name.as_str(), socket.as_raw_fd()));
        let all: Vec<(&str, RawFd)> = given.chain(stored).collect();
        // They come as 3, 4, 5...: first out of the way, then to their places.
        let mut script = String::new();
        for (index, (_, number)) in all.iter().enumerate() {
            script += &format!("exec {}<&{number}\n", 500 + index);
        }
        for index in 0..all.len() {
            script += &format!("exec {}<&{} {}<&-\n", 3 + index, 500 + index, 500 + index);
        }
        script += "LISTEN_PID=$$ exec \"$@\"\n";
        for socket in sockets {
            fcntl(socket, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        }
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        let mut command = Command::new("bash");
        command
            .args(["-c", &script, "bash"])
            .arg(programs::find("kubefwdd"))
            .env("NOTIFY_SOCKET", &self.path)
            .env("LISTEN_FDS", all.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"));
        command
    }

    /// How many messages came so far.
    pub(crate) fn heard(&self) -> usize {
        self.heard.lock().unwrap().messages.len()
    }

    /// Waits for a message with this line after the first `after` messages; returns how many there were up to it.
    pub(crate) fn hears(&self, line: &str, after: usize) -> usize {
        eventually(&format!("the service manager hears {line}"), || {
            let heard = self.heard.lock().unwrap();
            let later = heard.messages.iter().enumerate().skip(after);
            let mut found =
                later.filter(|(_, message)| message.lines().any(|l| l.starts_with(line)));
            found.next().map(|(index, _)| index + 1)
        })
    }

    /// The names of what is stored.
    pub(crate) fn stored(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.stored.iter().map(|(name, _)| name.clone()).collect()
    }
}

impl Heard {
    fn take(&mut self, message: String, descriptors: Vec<OwnedFd>) {
        let fields: BTreeMap<&str, &str> = message
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        let name = fields.get("FDNAME").copied().unwrap_or("stored");
        if fields.contains_key("FDSTOREREMOVE") {
            self.stored.retain(|(stored, _)| stored != name);
        }
        if fields.contains_key("FDSTORE") {
            let new = descriptors.into_iter().map(|fd| (name.to_owned(), fd));
            self.stored.extend(new);
        }
        self.messages.push(message);
    }
}

/// What `systemctl start` does with the unit's sockets, as their path is: made by the manager.
pub(crate) fn socket(path: &Path) -> UnixListener {
    UnixListener::bind(path).unwrap()
}

fn receive(socket: &UnixDatagram) -> Option<(String, Vec<OwnedFd>)> {
    let mut text = [0; 4096];
    let mut space = nix::cmsg_space!([RawFd; 8]);
    let mut buffers = [IoSliceMut::new(&mut text)];
    // Not closed by exec: they are passed on.
    let flags = MsgFlags::empty();
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut space), flags).ok()?;
    let mut descriptors = Vec::new();
    for message in received.cmsgs().ok()? {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            descriptors.extend(numbers.into_iter().map(adopt));
        }
    }
    let length = received.bytes;
    Some((
        String::from_utf8_lossy(&text[..length]).into_owned(),
        descriptors,
    ))
}

#[expect(unsafe_code, reason = "descriptors come out of a message as numbers")]
fn adopt(number: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(number) }
}
