//! What the applications in the pods do with a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::http;
use super::pattern::{PatternCheck, pattern};
use super::pipe::{Conn, read_exact};

/// How much an application reads at once.
const READ: usize = 256 * 1024;

/// What listens on a port of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behaviour {
    /// Sends everything back.
    Echo,
    /// HTTP/1.1; the paths are described at [`crate::pods::http`].
    Http,
    /// HTTP/2 without TLS (prior knowledge), answering like a gRPC server: a message and `grpc-status` in trailers.
    H2c,
    /// Reads and forgets.
    Discard,
    /// Sends this many bytes of the [`crate::pattern`], or endlessly, then closes.
    Source(Option<u64>),
    /// Reads an 8-byte big-endian length and that many bytes of the [`crate::pattern`], answers `ok LENGTH` or
    /// `bad OFFSET` and a newline, and begins again.
    Sink,
    /// Sends everything back and closes after that many received bytes.
    CloseAfter(u64),
    /// Accepts and never reads or writes.
    NeverRead,
    /// Sends this text first, then everything back (a protocol in which the server speaks first).
    Greeting(String),
    /// Sends this text and closes at once.
    Bye(String),
    /// Answers with the number of bytes received and a newline, this long after the end of input. Through a
    /// port-forward no end of input ever arrives while the answer could still be delivered.
    CountAfterEof(Duration),
    /// Resets the connection after this many received bytes.
    ResetAfter(u64),
}

/// What an application knows about where it runs.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) namespace: Arc<str>,
    pub(crate) pod: Arc<str>,
    pub(crate) port: u16,
}

impl Behaviour {
    /// Serves one connection until it ends. The connection is closed by the return.
    pub(crate) async fn serve(&self, conn: Conn, place: Place) {
        // An application has nobody to report to when its peer goes away.
        let _ended: io::Result<()> = match self {
            Self::Echo => echo(conn).await,
            Self::Http => http::serve_http1(conn, place).await,
            Self::H2c => http::serve_h2c(conn, place).await,
            Self::Discard => discard(conn).await,
            Self::Source(length) => source(conn, *length).await,
            Self::Sink => sink(conn).await,
            Self::CloseAfter(limit) => close_after(conn, *limit).await,
            Self::NeverRead => never_read(conn).await,
            Self::Greeting(text) => greeting(conn, text).await,
            Self::Bye(text) => conn.writer.send(Bytes::from(text.clone())).await,
            Self::CountAfterEof(delay) => count_after_eof(conn, *delay).await,
            Self::ResetAfter(limit) => reset_after(conn, *limit).await,
        };
    }
}

async fn echo(conn: Conn) -> io::Result<()> {
    while let Some(chunk) = conn.reader.recv(READ).await? {
        conn.writer.send(chunk).await?;
    }
    Ok(())
}

async fn greeting(conn: Conn, text: &str) -> io::Result<()> {
    conn.writer.send(Bytes::from(text.to_owned())).await?;
    echo(conn).await
}

async fn discard(conn: Conn) -> io::Result<()> {
    while conn.reader.recv(READ).await?.is_some() {}
    Ok(())
}

async fn source(conn: Conn, length: Option<u64>) -> io::Result<()> {
    let mut sent = 0;
    while length.is_none_or(|length| sent < length) {
        let left = length.map_or(u64::MAX, |length| length - sent);
        let chunk = pattern(sent, left.min(READ as u64) as usize);
        sent += chunk.len() as u64;
        conn.writer.send(chunk).await?;
    }
    Ok(())
}

async fn sink(conn: Conn) -> io::Result<()> {
    let mut rest = Bytes::new();
    let mut length = [0; 8];
    while read_exact(&conn.reader, &mut rest, &mut length).await? {
        let length = u64::from_be_bytes(length);
        let mut check = PatternCheck::default();
        let mut verdict = Ok(());
        let mut received = 0;
        while received < length {
            if rest.is_empty() {
                let Some(chunk) = conn.reader.recv(READ).await? else {
                    return Ok(());
                };
                rest = chunk;
            }
            let now = rest.split_to(rest.len().min((length - received) as usize));
            received += now.len() as u64;
            if verdict.is_ok() {
                verdict = check.check(&now);
            }
        }
        let answer = match verdict {
            Ok(()) => format!("ok {length}\n"),
            Err(mismatch) => format!("bad {}\n", mismatch.offset),
        };
        conn.writer.send(Bytes::from(answer)).await?;
    }
    Ok(())
}

async fn close_after(conn: Conn, limit: u64) -> io::Result<()> {
    let mut received = 0;
    while received < limit {
        let want = (limit - received).min(READ as u64) as usize;
        let Some(chunk) = conn.reader.recv(want).await? else {
            break;
        };
        received += chunk.len() as u64;
        conn.writer.send(chunk).await?;
    }
    Ok(())
}

async fn reset_after(conn: Conn, limit: u64) -> io::Result<()> {
    let mut received = 0;
    while received < limit {
        let Some(chunk) = conn.reader.recv(READ).await? else {
            return Ok(());
        };
        received += chunk.len() as u64;
    }
    conn.writer.reset();
    Ok(())
}

async fn never_read(conn: Conn) -> io::Result<()> {
    let () = std::future::pending().await;
    drop(conn);
    Ok(())
}

async fn count_after_eof(conn: Conn, delay: Duration) -> io::Result<()> {
    let mut received = 0_usize;
    while let Some(chunk) = conn.reader.recv(READ).await? {
        received += chunk.len();
    }
    sleep(delay).await;
    conn.writer.send(Bytes::from(format!("{received}\n"))).await
}

#[cfg(test)]
mod tests {
    use super::super::pipe::connection;
    use super::*;

    fn place() -> Place {
        Place {
            namespace: "demo".into(),
            pod: "pod".into(),
            port: 1,
        }
    }

    async fn run(behaviour: Behaviour, input: &[Bytes]) -> Vec<u8> {
        let (near, far) = connection();
        let app = tokio::spawn(async move { behaviour.serve(far, place()).await });
        for chunk in input {
            if near.writer.send(chunk.clone()).await.is_err() {
                break;
            }
        }
        drop(near.writer);
        let mut out = Vec::new();
        while let Ok(Some(chunk)) = near.reader.recv(READ).await {
            out.extend_from_slice(&chunk);
        }
        app.await.unwrap();
        out
    }

    #[tokio::test]
    async fn a_sink_tells_whether_the_pattern_arrived() {
        let mut good = 5000_u64.to_be_bytes().to_vec();
        good.extend_from_slice(&pattern(0, 5000));
        let mut bad = good.clone();
        bad[8 + 77] ^= 0xff;
        let input: Vec<Bytes> = [good, bad]
            .concat()
            .chunks(999)
            .map(Bytes::copy_from_slice)
            .collect();
        assert_eq!(run(Behaviour::Sink, &input).await, b"ok 5000\nbad 77\n");
    }

    #[tokio::test]
    async fn a_source_sends_the_pattern_and_closes() {
        let out = run(Behaviour::Source(Some(700_001)), &[]).await;
        assert_eq!(out.len(), 700_001);
        PatternCheck::default().check(&out).unwrap();
    }

    #[tokio::test]
    async fn small_behaviours() {
        let hello = [Bytes::from_static(b"hello")];
        assert_eq!(run(Behaviour::Echo, &hello).await, b"hello");
        assert_eq!(
            run(Behaviour::Greeting("hi ".into()), &hello).await,
            b"hi hello"
        );
        assert_eq!(run(Behaviour::Bye("bye\n".into()), &[]).await, b"bye\n");
        assert_eq!(run(Behaviour::CloseAfter(3), &hello).await, b"hel");
        assert_eq!(run(Behaviour::Discard, &hello).await, b"");
        assert_eq!(
            run(Behaviour::CountAfterEof(Duration::ZERO), &hello).await,
            b"5\n"
        );
        assert_eq!(run(Behaviour::ResetAfter(2), &hello).await, b"");
    }
}
