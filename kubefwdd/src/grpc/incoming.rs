//! Connections to the control socket, which every user of the machine may open: so many for each user, so that nobody
//! can take the daemon's descriptors and memory from the others.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tonic::transport::server::{Connected, UdsConnectInfo};

/// Connections of one user at a time. A client holds one, for as long as its command runs.
const PER_USER: usize = 256;
/// A descriptor may be free again after so long.
const NO_DESCRIPTOR: Duration = Duration::from_millis(100);

/// The connections that may be served, as they come. One that is too many is closed at once.
pub(super) fn incoming(listener: UnixListener) -> impl Stream<Item = io::Result<Connection>> {
    let places = Places::new(PER_USER);
    stream::unfold((listener, places), |(listener, places)| async move {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(NO_DESCRIPTOR).await;
                    continue;
                }
            };
            let Ok(uid) = stream.peer_cred().map(|peer| peer.uid()) else {
                continue;
            };
            match places.take(uid) {
                Ok(place) => {
                    let connection = Connection {
                        stream,
                        _place: place,
                    };
                    return Some((Ok(connection), (listener, places)));
                }
                Err(Taken { is_news }) => {
                    if is_news {
                        tracing::warn!(
                            uid,
                            "has {PER_USER} connections to the control socket; more are refused until some are closed"
                        );
                    }
                }
            }
        }
    })
}

/// A connection that counts for its user as long as it lives.
pub(super) struct Connection {
    stream: UnixStream,
    _place: Place,
}

/// How many connections each user has.
#[derive(Debug, Clone)]
struct Places {
    most: usize,
    users: Arc<Mutex<HashMap<u32, Count>>>,
}

#[derive(Debug, Default)]
struct Count {
    taken: usize,
    /// It was said already.
    is_full: bool,
}

#[derive(Debug)]
struct Place {
    places: Places,
    uid: u32,
}

/// All places of a user are taken.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    is_news: bool,
}

// === impl Places ===

impl Places {
    fn new(most: usize) -> Self {
        Self {
            most,
            users: Arc::default(),
        }
    }

    fn take(&self, uid: u32) -> Result<Place, Taken> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let count = users.entry(uid).or_default();
        if count.taken >= self.most {
            let is_news = !std::mem::replace(&mut count.is_full, true);
            return Err(Taken { is_news });
        }
        count.taken += 1;
        Ok(Place {
            places: self.clone(),
            uid,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let users = &self.places.users;
        let mut users = users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = users.get_mut(&self.uid) {
            count.taken -= 1;
            if count.taken == 0 {
                users.remove(&self.uid);
            }
        }
    }
}

// === impl Connection ===

impl Connected for Connection {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> UdsConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_places_of_their_own_and_gets_them_back() {
        let places = Places::new(2);
        let first = places.take(1).unwrap();
        let _second = places.take(1).unwrap();
        assert_eq!(places.take(1).unwrap_err(), Taken { is_news: true });
        assert_eq!(places.take(1).unwrap_err(), Taken { is_news: false });
        let _other = places.take(2).unwrap();
        drop(first);
        let _again = places.take(1).unwrap();
        assert!(places.take(1).is_err());
    }

    #[test]
    fn nothing_is_remembered_of_users_who_are_gone() {
        let places = Places::new(2);
        drop((places.take(1).unwrap(), places.take(2).unwrap()));
        assert!(places.users.lock().unwrap().is_empty());
    }
}
