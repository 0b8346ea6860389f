//! How the frames of a port-forward travel.

pub(crate) mod spdy;
pub(crate) mod upgrade;
pub(crate) mod websocket;

use std::fmt;

/// How the frames of a port-forward travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `POST` with `Upgrade: SPDY/3.1`. Needs the verb `create` on `pods/portforward`, and nothing between us and the API
    /// server that only knows WebSocket.
    Spdy,
    /// The same frames in WebSocket messages (`SPDY/3.1+portforward.k8s.io`, Kubernetes 1.31 and newer). Needs `get`, and
    /// since 1.35 `create` too.
    WebSocket,
    /// `v4.channel.k8s.io`: one WebSocket for every single connection.
    Channel,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spdy => "SPDY/3.1",
            Self::WebSocket => "SPDY/3.1 over WebSocket",
            Self::Channel => "WebSocket v4.channel.k8s.io",
        })
    }
}

impl Transport {
    /// Its name for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spdy => "spdy",
            Self::WebSocket => "websocket",
            Self::Channel => "websocket-v4",
        }
    }

    /// The verb on `pods/portforward` that the API server asks for first.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Spdy => "create",
            Self::WebSocket | Self::Channel => "get",
        }
    }
}
