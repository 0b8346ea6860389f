//! Peers: workers, clients of the control socket, clients of REST.

use std::os::unix::net::UnixStream;

use kubefwd_model::Uid;
use kubefwd_proto::channel::{Accepts, channel as frames};
use kubefwd_proto::worker::v1 as wire;
use prost::Message;
use tokio::io::AsyncWriteExt;

use super::daemon::{CALLER, Daemon, NEIGHBOUR, actor, answering, hello, run};
use crate::grpc;

/// The first bit of REST's input: the connection is TCP.
const TCP: u8 = 1;

/// What comes over a worker's channel, before anybody knows what it means: the same frames however it is cut.
pub fn channel(bytes: &[u8]) {
    run(async {
        let whole = received(&[bytes]).await;
        let pieces: Vec<&[u8]> = bytes.chunks(bytes.len() / 8 + 1).collect();
        assert_eq!(received(&pieces).await, whole);
    });
}

/// The frames, and how the channel ended.
async fn received(pieces: &[&[u8]]) -> (Vec<wire::FromWorker>, String) {
    let mut found = Vec::new();
    let (near, far) = pair();
    let opened = frames::<wire::ToWorker, wire::FromWorker>(far, Accepts::Frames);
    let Ok((_, mut receiver)) = opened else {
        return (found, "no channel".to_owned());
    };
    let writing = async {
        let mut near = stream(near);
        for piece in pieces {
            if near.write_all(piece).await.is_err() {
                return;
            }
            // Lets the reader see this piece by itself.
            tokio::task::yield_now().await;
        }
    };
    let reading = async {
        let end = loop {
            match receiver.receive().await {
                Ok(Some((frame, descriptor))) => {
                    assert!(descriptor.is_none());
                    found.push(frame);
                }
                Ok(None) => break "the end".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        // The writer may still be at it.
        drop(receiver);
        end
    };
    let (end, ()) = tokio::join!(reading, writing);
    (found, end)
}

/// A worker's frames, each behind its length (two bytes), after a proper hello: the daemon keeps its promises, and another
/// user's services stay exactly as they are.
pub fn worker(bytes: &[u8]) {
    run(async {
        let mut daemon = Daemon::new(Some(CALLER));
        let before = daemon.world.services(NEIGHBOUR);
        assert!(!before.is_empty());
        let (near, far) = pair();
        let mut said = framed(&hello().encode_to_vec());
        // Bytes that are no message would end the session: that is for `channel`.
        let messages = split(bytes).filter(|bytes| wire::FromWorker::decode(*bytes).is_ok());
        said.extend(messages.flat_map(framed));
        let speaking = async {
            let mut near = stream(near);
            // The daemon may hang up at any time, and must not be hung up on before it has read everything.
            let _ = near.write_all(&said).await;
            let _ = near.shutdown().await;
            let _ = tokio::io::copy(&mut near, &mut tokio::io::sink()).await;
        };
        let workers = daemon.workers.clone();
        let both = async { tokio::join!(workers.converse(CALLER, far), speaking) };
        let (why, ()) = daemon.world.serve(both).await;
        assert!(!why.is_empty());
        assert_eq!(daemon.world.services(NEIGHBOUR), before);
        daemon.world.worker_gone(CALLER);
        assert_eq!(daemon.world.services(NEIGHBOUR), before);
        daemon.world.end();
    });
}

/// Requests of the control protocol, each behind its kind (a byte) and its length (two), after what the caller's worker
/// answers (behind its length; nothing: what it should).
pub fn control(bytes: &[u8]) {
    let (answer, requests) = split_first(bytes);
    run(async {
        let mut daemon = Daemon::new(None);
        let before = daemon.world.services(NEIGHBOUR);
        let (control, actor) = (daemon.control.clone(), actor(CALLER));
        let calls = async {
            let mut rest = requests;
            while let Some((kind, behind)) = rest.split_first() {
                let (request, behind) = split_first(behind);
                rest = behind;
                if let Err(failure) = grpc::fuzzing::call(&control, &actor, *kind, request).await {
                    assert!(!failure.message.is_empty());
                }
            }
        };
        with_worker(&mut daemon, CALLER, answer, calls).await;
        assert_eq!(daemon.world.services(NEIGHBOUR), before);
        daemon.world.end();
    });
}

/// A connection to REST, after a byte that says over what it comes, and what root's worker answers (behind its length).
pub fn rest(bytes: &[u8]) {
    let Some((over, bytes)) = bytes.split_first() else {
        return;
    };
    let (answer, sent) = split_first(bytes);
    run(async {
        let mut daemon = Daemon::new(None);
        let connection =
            kubefwd_rest::fuzzing::connection(daemon.control.clone(), over & TCP != 0, sent);
        with_worker(&mut daemon, Uid::ROOT, answer, connection).await;
        daemon.world.end();
    });
}

/// Runs `calls` while the worker of `uid` answers.
async fn with_worker(
    daemon: &mut Daemon,
    uid: Uid,
    answer: &[u8],
    calls: impl Future<Output = ()>,
) {
    let answer = wire::Answer::decode(answer).ok();
    let (near, far) = pair();
    let workers = daemon.workers.clone();
    let all = async {
        tokio::select! {
            biased;
            _ = workers.converse(uid, far) => {}
            () = answering(near, answer.and_then(|answer| answer.answer)) => {}
            () = calls => {}
        }
    };
    daemon.world.serve(all).await;
}

/// A message as it lies in the channel.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], &[0], message].concat()
}

/// What lies behind a length of two bytes, and the rest.
fn split_first(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.split_first_chunk() {
        Some((length, rest)) => {
            rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()))
        }
        None => (&[], &[]),
    }
}

fn split(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let (first, rest) = split_first(bytes);
        bytes = rest;
        Some(first)
    })
}

fn pair() -> (UnixStream, UnixStream) {
    match UnixStream::pair() {
        Ok(pair) => pair,
        Err(error) => panic!("no socketpair can be had: {error}"),
    }
}

fn stream(socket: UnixStream) -> tokio::net::UnixStream {
    let registered = socket
        .set_nonblocking(true)
        .and_then(|()| tokio::net::UnixStream::from_std(socket));
    match registered {
        Ok(stream) => stream,
        Err(error) => panic!("a socket cannot be used: {error}"),
    }
}
