//! The parsers of what comes from clusters, proxies, plugins, files and forwarded connections, as `fuzz/` and the tests over
//! `fuzz/corpus` call them: each takes any bytes, and panics where the parser does or contradicts itself.

pub use crate::access::fuzzing::{certificate, credential, kubeconfig};
pub use crate::capture::fuzzing::capture;
pub use crate::capture::http2::hpack::fuzzing::header_blocks;
pub use crate::tunnel::fuzzing::{http, spdy, websocket};
pub use crate::watch::fuzzing::watch;

/// A parser under test.
pub type Target = fn(&[u8]);

/// All of them, by the name of their corpus.
pub const TARGETS: [(&str, Target); 9] = [
    ("capture", capture),
    ("certificate", certificate),
    ("credential", credential),
    ("hpack", header_blocks),
    ("http", http),
    ("kubeconfig", kubeconfig),
    ("spdy", spdy),
    ("watch", watch),
    ("websocket", websocket),
];
