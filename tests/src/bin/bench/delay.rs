//! A network with a round trip, in user space: bytes of a TCP connection come out so much later, as many as go in.
//!
//! A connection to it is accepted without the delay, since the kernel does that; what is compared here happens on
//! connections that exist.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// The most that is read at once.
const CHUNK: usize = 64 * 1024;
/// Chunks under way in one direction of one connection.
const UNDER_WAY: usize = 1024;

/// Listens, and leads every connection to `target` over this round trip.
pub(crate) async fn listen(
    target: SocketAddr,
    round_trip: Duration,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(connect(near, target, round_trip / 2));
        }
    });
    Ok(address)
}

async fn connect(near: TcpStream, target: SocketAddr, one_way: Duration) {
    let Ok(far) = TcpStream::connect(target).await else {
        return;
    };
    // Where it cannot be set the connection has ended already.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::join!(
        carry(near_read, far_write, one_way),
        carry(far_read, near_write, one_way)
    );
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, one_way: Duration) {
    let (sender, mut queue) = mpsc::channel::<(Instant, Bytes)>(UNDER_WAY);
    let reading = async move {
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            // An error ends the direction as a FIN does.
            let read = from.read_buf(&mut chunk).await.unwrap_or(0);
            let sent = sender
                .send((Instant::now() + one_way, chunk.freeze()))
                .await;
            if read == 0 || sent.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, chunk)) = queue.recv().await {
            sleep_until(due).await;
            if chunk.is_empty() || to.write_all(&chunk).await.is_err() {
                break;
            }
        }
        let _ended = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_arrive_later_and_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let round_trip = Duration::from_millis(40);
        let address = listen(listener.local_addr().unwrap(), round_trip)
            .await
            .unwrap();
        let mut near = TcpStream::connect(address).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let began = Instant::now();
        near.write_all(&[7; 300_000]).await.unwrap();
        near.shutdown().await.unwrap();
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        assert!(began.elapsed() >= round_trip / 2);
        assert_eq!(got, [7; 300_000]);
    }
}
