//! How streams end. The protocol has no half-close in practice: once either direction ends, the runtime closes everything
//! within a second, and it reports a refused dial as text on the error stream, next to an ordinary end of the data stream.

use std::time::Duration;

use tokio::time::Instant;

use super::client_socket;
use super::mux::Mux;
use super::stream::{Remote, Retry, Upload};
use super::timers::Kind;
use kubefwd_os::peer::Peer;

/// How long the rest of the runtime's end may take: both ends and an error come together.
const SETTLE: Duration = Duration::from_secs(1);
/// How long the runtime may take to end after us; it needs one second.
const AFTER_END: Duration = Duration::from_secs(10);
/// When to check again a client that seemed to be reading: a closing program is briefly between both states.
const PEER_CHECKS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];
/// What runtimes say when they could not reach the port at all, so that the program in the pod has seen nothing.
const DIAL_ERRORS: [&str; 8] = [
    "failed to connect",
    "failed to dial",
    "connection refused",
    "not running",
    "failed to find sandbox",
    "no such container",
    "container not found",
    "no such file or directory",
];

impl Mux {
    /// Notes a step of the runtime's end and acts once it is complete.
    pub(super) fn settle(&mut self, stream: u32, now: Instant, note: impl FnOnce(&mut Remote)) {
        let pair = stream / 4;
        let Some(stream) = self.live(pair) else {
            return;
        };
        note(&mut stream.remote);
        let remote = stream.remote;
        let error_over = remote.error_ended || remote.error_reset;
        if remote.data_ended && error_over {
            self.finish(pair, None);
        } else if remote.data_reset && error_over || remote.error_reset {
            self.finish(pair, Some("the runtime reset the stream".to_owned()));
        } else if (remote.data_ended || remote.data_reset) && !remote.settling {
            stream.remote.settling = true;
            self.timers.set(now + SETTLE, pair, Kind::Settle);
        }
    }

    /// The runtime says what went wrong. If nothing was reached in the pod, another pod may do.
    pub(super) fn receive_error(&mut self, pair: u32, text: &[u8], end: bool, now: Instant) {
        let Some(stream) = self.streams.get_mut(&pair) else {
            return;
        };
        stream.push_error(text);
        let error_text = stream.error_text();
        let Some(error_text) = error_text.filter(|_| end && stream.draining.is_none()) else {
            return;
        };
        self.unreset = Some((pair, now));
        if stream.is_replayable() && is_dial_error(&error_text) {
            self.reset_remote(pair);
            if let Some(stream) = self.remove(pair) {
                stream.hand_back(Retry::Pod(error_text));
            }
            return;
        }
        self.finish(pair, Some(error_text));
    }

    /// The pod's side is over: the client gets what waits for it, then an end or a reset.
    pub(super) fn finish(&mut self, pair: u32, reset: Option<String>) {
        let Some(stream) = self.live(pair) else {
            return;
        };
        let ended = std::mem::replace(&mut stream.upload, Upload::Ended);
        let failed = reset.is_some();
        stream.draining = Some(reset);
        if failed || ended != Upload::Ended {
            self.reset_remote(pair);
        }
        self.finish_drained(pair);
    }

    /// The client has ended its side. Whether it still reads decides when the pod may know.
    pub(super) fn client_ended(&mut self, pair: u32, now: Instant) {
        let Some(stream) = self.streams.get_mut(&pair) else {
            return;
        };
        let peer = client_socket(&stream.downstream.local);
        if peer == Peer::Closed {
            self.client_left(pair);
            return;
        }
        stream.upload = Upload::Held;
        let grace = self.settings.half_close_grace;
        if grace.is_zero() {
            self.end_upload(pair, now);
            return;
        }
        self.timers.set(now + grace, pair, Kind::HalfClose);
        if peer == Peer::Open {
            self.timers
                .set(now + PEER_CHECKS[0], pair, Kind::Peer { checks: 1 });
        }
    }

    /// The client is gone and has sent all it wanted: an end, not a reset, lets the runtime deliver the last bytes.
    fn client_left(&mut self, pair: u32) {
        let Some(stream) = self.remove(pair) else {
            return;
        };
        if stream.upload != Upload::Ended {
            self.end_remote(pair);
        }
        stream.abandon();
    }

    /// The client's connection broke.
    pub(super) fn client_broke(&mut self, pair: u32) {
        let Some(stream) = self.remove(pair) else {
            return;
        };
        if stream.draining.is_none() {
            self.reset_remote(pair);
        }
        stream.abandon();
    }

    fn end_upload(&mut self, pair: u32, now: Instant) {
        if let Some(stream) = self.streams.get_mut(&pair) {
            stream.upload = Upload::Ended;
            self.end_remote(pair);
            self.timers.set(now + AFTER_END, pair, Kind::AfterEnd);
        }
    }

    /// Acts on the deadlines that have passed.
    pub(super) fn tick(&mut self, now: Instant) {
        while let Some((pair, kind)) = self.timers.due(now) {
            let stream = self.streams.get(&pair);
            let Some(stream) = stream.filter(|stream| stream.draining.is_none()) else {
                continue;
            };
            match kind {
                Kind::Settle => {
                    let broken = !stream.remote.data_ended;
                    let reset = broken.then(|| "the runtime reset the stream".to_owned());
                    self.finish(pair, reset);
                }
                Kind::HalfClose => {
                    let due = stream.last_data + self.settings.half_close_grace;
                    if stream.upload != Upload::Held {
                        continue;
                    } else if due > now {
                        self.timers.set(due, pair, kind);
                    } else {
                        self.end_upload(pair, now);
                    }
                }
                Kind::Peer { checks } => {
                    if client_socket(&stream.downstream.local) == Peer::Closed {
                        self.client_left(pair);
                    } else if let Some(pause) = PEER_CHECKS.get(usize::from(checks)) {
                        self.timers
                            .set(now + *pause, pair, Kind::Peer { checks: checks + 1 });
                    }
                }
                Kind::AfterEnd => {
                    let due = stream.last_data + AFTER_END;
                    if due > now {
                        self.timers.set(due, pair, kind);
                    } else {
                        self.finish(pair, None);
                    }
                }
            }
        }
    }

    /// The connection is lost. What the pod cannot have seen goes another way; what it has answered ends as it stands.
    pub(super) fn lost(&mut self, why: &str) {
        let unseen = |_, stream: &super::stream::Stream| !stream.taken || stream.is_untouched();
        self.hand_back(unseen, || Retry::Connection(why.to_owned()));
        let rest = self.streams.iter();
        let rest: Vec<_> = rest
            .map(|(pair, it)| (*pair, it.remote.data_ended))
            .collect();
        for (pair, complete) in rest {
            self.finish(pair, (!complete).then(|| why.to_owned()));
        }
        self.control.clear();
    }

    /// The pod is gone: what it has not answered goes to another one.
    pub(super) fn pod_gone(&mut self) {
        self.hand_back(|_, _| true, || Retry::Pod("the pod is gone".to_owned()));
    }
}

/// Whether the runtime's error says that nothing in the pod was reached.
pub(crate) fn is_dial_error(error_text: &str) -> bool {
    let error_text = error_text.to_ascii_lowercase();
    let closed_namespace =
        error_text.contains("network namespace") && error_text.contains("closed");
    closed_namespace || DIAL_ERRORS.iter().any(|error| error_text.contains(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_dials_are_told_from_broken_copies() {
        for text in [
            "error forwarding port 9999 to pod 27ee, uid : failed to execute portforward in network namespace \"/var/run/netns/cni-3fd3\": failed to connect to localhost:9999 inside namespace",
            "error forwarding port 5432 to pod 45fa, uid : failed to find sandbox \"45fa\" in store: not found",
            "error forwarding port 80: network namespace for sandbox \"45fa\" is closed",
            "dial tcp4 127.0.0.1:80: connect: Connection refused",
        ] {
            assert!(is_dial_error(text), "{text}");
        }
        for text in [
            "error copying from remote stream: broken pipe",
            "read tcp: connection reset by peer",
        ] {
            assert!(!is_dial_error(text), "{text}");
        }
    }
}
