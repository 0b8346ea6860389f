//! The applications of pods on plain TCP, for comparisons with what a port-forward makes of them.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::behaviour::{Behaviour, Place};
use super::pipe::connection;

/// What is copied at once between the socket and the application.
const COPY: usize = 256 * 1024;

/// Serves an application on a listener until dropped.
///
/// # Errors
/// When the listener fails.
pub async fn serve_tcp(listener: TcpListener, behaviour: Behaviour) -> io::Result<()> {
    let behaviour = Arc::new(behaviour);
    let port = listener.local_addr()?.port();
    loop {
        let (tcp, _) = listener.accept().await?;
        tokio::spawn(serve(tcp, Arc::clone(&behaviour), port));
    }
}

/// Either end ends the other: there is no half-close, as there is none through a port-forward.
async fn serve(mut tcp: TcpStream, behaviour: Arc<Behaviour>, port: u16) {
    // Where it cannot be set the connection has ended already.
    let _ended = tcp.set_nodelay(true);
    let (near, far) = connection();
    let place = Place {
        namespace: "direct".into(),
        pod: "direct".into(),
        port,
    };
    let application = tokio::spawn(async move { behaviour.serve(far, place).await });
    let (mut from_client, mut to_client) = tcp.split();
    let up = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(COPY);
            if from_client.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            near.writer.send(buffer.split().freeze()).await?;
        }
    };
    let down = async {
        while let Some(chunk) = near.reader.recv(COPY).await? {
            to_client.write_all(&chunk).await?;
        }
        Ok(())
    };
    let _ended: io::Result<()> = tokio::select! {
        ended = up => ended,
        ended = down => ended,
    };
    application.abort();
}
