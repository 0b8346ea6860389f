//! The oldest way: `v4.channel.k8s.io` (and its base64 form), one WebSocket connection for the ports of its query, each
//! connected at once and only once.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::forward::{COPY_BUFFER, Pace, dial, error_text};
use super::transport::Outbound;
use super::websocket::{self, Opcode};
use crate::pods::Sandbox;
use crate::pods::pipe::{PipeReader, PipeWriter};
use crate::state::State;

/// How channel messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Binary,
    Base64,
}

/// Serves one connection until the client goes away or all ports are done.
pub(super) async fn serve<R: AsyncRead + Unpin>(
    state: Arc<State>,
    sandbox: Arc<Sandbox>,
    ports: Vec<u16>,
    encoding: Encoding,
    io: R,
    out: mpsc::Sender<Outbound>,
) {
    let mut signals = state.signals.subscribe();
    signals.mark_unchanged();
    for (index, port) in ports.iter().enumerate() {
        for channel in [2 * index, 2 * index + 1] {
            let announcement = Bytes::copy_from_slice(&port.to_le_bytes());
            send(&out, encoding, channel, announcement).await;
        }
    }
    let mut downloads = JoinSet::new();
    let mut uploads = Vec::with_capacity(ports.len());
    for (index, port) in ports.into_iter().enumerate() {
        match dial(&state, &sandbox, port) {
            Ok(conn) => {
                uploads.push(Some((conn.writer, port)));
                downloads.spawn(download(
                    Arc::clone(&state),
                    Arc::clone(&sandbox),
                    conn.reader,
                    port,
                    2 * index,
                    encoding,
                    out.clone(),
                ));
            }
            Err(error) => {
                uploads.push(None);
                let text = error_text(&sandbox, port, &error);
                send(&out, encoding, 2 * index + 1, Bytes::from(text)).await;
            }
        }
    }
    let all_done = async { while downloads.join_next().await.is_some() {} };
    let frame = tokio::select! {
        () = all_done => Some(websocket::close()),
        () = read(&state, &sandbox, io, &uploads, encoding, &out) => None,
        _ = signals.changed() => None,
    };
    let _gone = out.send(Outbound::Close { frame }).await;
}

/// Application to client, and the second that the runtime waits for the other direction.
async fn download(
    state: Arc<State>,
    sandbox: Arc<Sandbox>,
    app: PipeReader,
    port: u16,
    channel: usize,
    encoding: Encoding,
    out: mpsc::Sender<Outbound>,
) {
    let _open = state.counters.dials_open.enter();
    let mut pace = Pace::new(&state, &sandbox, port);
    loop {
        match app.recv(COPY_BUFFER).await {
            Ok(Some(payload)) => {
                pace.wait(payload.len()).await;
                state.counters.bytes_down.add(payload.len() as u64);
                send(&out, encoding, channel, payload).await;
            }
            Ok(None) => {
                sleep(state.timing.close_grace).await;
                return;
            }
            Err(error) => {
                let error = sandbox.broken(port, &error);
                let text = error_text(&sandbox, port, &error);
                send(&out, encoding, channel + 1, Bytes::from(text)).await;
                return;
            }
        }
    }
}

/// Client to applications: one message after the other, so that a full application holds up all ports.
async fn read<R: AsyncRead + Unpin>(
    state: &State,
    sandbox: &Sandbox,
    mut io: R,
    uploads: &[Option<(PipeWriter, u16)>],
    encoding: Encoding,
    out: &mpsc::Sender<Outbound>,
) {
    let mut buffer = BytesMut::new();
    loop {
        let frame = match websocket::decode(&mut buffer) {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                buffer.reserve(64 * 1024);
                match io.read_buf(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => continue,
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a client broke the WebSocket connection");
                return;
            }
        };
        match frame.opcode {
            Opcode::Close => return,
            Opcode::Ping => {
                let pong = websocket::frame(Opcode::Pong, &frame.payload);
                if out
                    .send(Outbound::WebSocket(pong, Bytes::new()))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Opcode::Pong => {}
            Opcode::Binary | Opcode::Text | Opcode::Continuation => {
                let Some((channel, payload)) = message(frame.payload.freeze(), encoding) else {
                    continue;
                };
                let upload = uploads
                    .get(usize::from(channel) / 2)
                    .and_then(Option::as_ref);
                if let Some((app, port)) = upload.filter(|_| channel % 2 == 0) {
                    Pace::new(state, sandbox, *port)
                        .wait_upload(payload.len())
                        .await;
                    let length = payload.len() as u64;
                    if app.send(payload).await.is_ok() {
                        state.counters.bytes_up.add(length);
                    }
                }
            }
        }
    }
}

/// The channel and content of a client's message.
fn message(mut payload: Bytes, encoding: Encoding) -> Option<(u8, Bytes)> {
    let first = *payload.first()?;
    let rest = payload.split_off(1);
    match encoding {
        Encoding::Binary => Some((first, rest)),
        Encoding::Base64 => {
            let content = STANDARD.decode(&rest).ok()?;
            Some((first.checked_sub(b'0')?, Bytes::from(content)))
        }
    }
}

async fn send(out: &mpsc::Sender<Outbound>, encoding: Encoding, channel: usize, payload: Bytes) {
    let channel = u8::try_from(channel).unwrap_or(u8::MAX);
    let (head, payload) = match encoding {
        Encoding::Binary => {
            let mut head = BytesMut::with_capacity(11);
            head.put_slice(&websocket::head(Opcode::Binary, true, payload.len() + 1));
            head.put_u8(channel);
            (head.freeze(), payload)
        }
        Encoding::Base64 => {
            let mut text = String::from(char::from(b'0' + channel));
            STANDARD.encode_string(&payload, &mut text);
            (
                websocket::frame(Opcode::Text, text.as_bytes()),
                Bytes::new(),
            )
        }
    };
    // A connection that is gone ends the whole session elsewhere.
    let _gone = out.send(Outbound::WebSocket(head, payload)).await;
}
