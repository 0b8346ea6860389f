//! One thread that accepts for every listener: an idle listener costs its descriptor and an entry in a table.
//!
//! Accepted sockets go through a bounded queue. While it is full the thread waits, and new connections stay in the
//! kernel's backlog instead of this process's memory.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Accepted connections that wait for a task.
const QUEUE: usize = 256;
/// Connections that one listener may hand over before the others get their turn.
const TURN: usize = 64;
/// How long to wait when the process or the system is out of descriptors.
const STARVED: Duration = Duration::from_millis(100);
const WAKE: Token = Token(usize::MAX);

/// Accepts connections of listeners; `T` is the listener's owner and comes back with each connection.
pub(crate) struct Acceptor<T> {
    registry: Registry,
    shared: Arc<Shared<T>>,
}

/// The accepted connections; they end once the [`Acceptor`] is gone.
pub(crate) type Accepted<T> = mpsc::Receiver<(T, TcpStream)>;

struct Shared<T> {
    listeners: Mutex<HashMap<usize, Arc<Entry<T>>>>,
    waker: Waker,
    stop: AtomicBool,
}

struct Entry<T> {
    listener: TcpListener,
    owner: T,
}

/// Starts the thread.
///
/// # Errors
/// When the system has no descriptors or threads left.
pub(crate) fn start<T: Clone + Send + Sync + 'static>() -> io::Result<(Acceptor<T>, Accepted<T>)> {
    let poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    let shared = Arc::new(Shared {
        listeners: Mutex::new(HashMap::new()),
        waker: Waker::new(poll.registry(), WAKE)?,
        stop: AtomicBool::new(false),
    });
    let (queue, accepted) = mpsc::channel(QUEUE);
    let thread = Thread {
        poll,
        shared: shared.clone(),
        queue,
        ready: VecDeque::new(),
    };
    std::thread::Builder::new()
        .name("accept".to_owned())
        .spawn(move || thread.run())?;
    Ok((Acceptor { registry, shared }, accepted))
}

// === impl Acceptor ===

impl<T> Acceptor<T> {
    /// Starts accepting from a listening socket.
    ///
    /// # Errors
    /// When the descriptor is not a listener that can be polled.
    pub(crate) fn add(&self, id: u64, listener: OwnedFd, owner: T) -> io::Result<()> {
        let listener = std::net::TcpListener::from(listener);
        listener.set_nonblocking(true)?;
        let entry = Arc::new(Entry {
            listener: TcpListener::from_std(listener),
            owner,
        });
        let token = token(id)?;
        // In the table first: the thread may see its first event before this returns.
        self.shared.listeners.lock().insert(token.0, entry.clone());
        // By descriptor: the table shares the listener with the thread, which may be accepting from it.
        let fd = entry.listener.as_raw_fd();
        let readable = Interest::READABLE;
        let registered = self.registry.register(&mut SourceFd(&fd), token, readable);
        if registered.is_err() {
            self.shared.listeners.lock().remove(&token.0);
        }
        registered
    }

    /// Stops accepting from this listener; connections that were accepted before may still arrive.
    pub(crate) fn remove(&self, id: u64) {
        // Closing the descriptor would not end the polling: the daemon has the same socket open.
        if let Ok(token) = token(id)
            && let Some(entry) = self.shared.listeners.lock().remove(&token.0)
            && let fd = entry.listener.as_raw_fd()
            && let Err(error) = self.registry.deregister(&mut SourceFd(&fd))
        {
            tracing::debug!(listener = id, %error, "cannot stop polling a listener");
        }
    }
}

impl<T> Drop for Acceptor<T> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Err(error) = self.shared.waker.wake() {
            tracing::error!(%error, "cannot wake the thread that accepts connections");
        }
    }
}

fn token(id: u64) -> io::Result<Token> {
    usize::try_from(id)
        .ok()
        .filter(|id| *id != WAKE.0)
        .map(Token)
        .ok_or_else(|| io::Error::other("the listener's number is too large"))
}

// === the thread ===

struct Thread<T> {
    poll: Poll,
    shared: Arc<Shared<T>>,
    queue: mpsc::Sender<(T, TcpStream)>,
    /// Listeners that may have connections waiting: readiness is reported only once.
    ready: VecDeque<usize>,
}

/// The result of accepting from one listener.
enum Turn {
    /// Nothing is waiting, or the listener is gone.
    Done,
    /// More may be waiting.
    More,
    /// Out of descriptors or memory.
    Starved,
    /// The queue's reader is gone.
    Closed,
}

impl<T: Clone> Thread<T> {
    fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut wait = None;
        loop {
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "no longer accepting connections");
                    return;
                }
            }
            if self.shared.stop.load(Ordering::Acquire) {
                return;
            }
            let ready = events.iter().map(|event| event.token());
            let ready = ready.filter(|token| *token != WAKE);
            self.ready.extend(ready.map(|token| token.0));
            wait = match self.accept_ready() {
                Turn::Closed => return,
                Turn::Starved => Some(STARVED),
                Turn::More => Some(Duration::ZERO),
                Turn::Done => None,
            };
        }
    }

    /// Gives each listener that is ready its turn.
    fn accept_ready(&mut self) -> Turn {
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else {
                break;
            };
            let entry = self.shared.listeners.lock().get(&token).cloned();
            let Some(entry) = entry else {
                continue;
            };
            match self.accept(&entry) {
                Turn::Done => {}
                Turn::More => self.ready.push_back(token),
                Turn::Starved => {
                    self.ready.push_front(token);
                    return Turn::Starved;
                }
                Turn::Closed => return Turn::Closed,
            }
        }
        if self.ready.is_empty() {
            Turn::Done
        } else {
            Turn::More
        }
    }

    fn accept(&self, entry: &Entry<T>) -> Turn {
        for _ in 0..TURN {
            match entry.listener.accept() {
                Ok((stream, _)) => {
                    let accepted = (entry.owner.clone(), stream.into());
                    if self.queue.blocking_send(accepted).is_err() {
                        return Turn::Closed;
                    }
                }
                Err(error) => match error.kind() {
                    // Nothing is waiting; or the daemon has closed the listener, and is about to revoke it.
                    io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput => return Turn::Done,
                    // The client went away before it was accepted.
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                    _ => {
                        tracing::warn!(%error, "cannot accept a connection");
                        return Turn::Starved;
                    }
                },
            }
        }
        Turn::More
    }
}

#[cfg(test)]
mod tests;
