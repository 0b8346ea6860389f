//! Tunnels: local TCP connections carried to pods by the Kubernetes port-forward protocol, faster and safer than one tunnel
//! per connection.
//!
//! [`Tunnels`] belongs to one cluster (an API server and a user). It keeps one upgraded connection per pod, opened on first
//! use and shared by all ports and services of the pod, and [`Tunnels::forward`] carries one accepted connection over it:
//!
//! - A new local connection costs one round trip: both streams are opened and the client's first bytes sent in one write,
//!   without waiting for the runtime to accept.
//! - Those bytes are kept until the pod answers. If the pod could not be reached, or is gone, they are sent to another one.
//! - The protocol has no flow control and a runtime's queues are shared: the tunnel is always drained, slow readers are
//!   buffered within bounds, and connections whose far side is stuck are found by PINGs and replaced.
//! - An unused service costs nothing: tasks and timers exist only for open connections to the API server.
//!
//! | module | responsibility |
//! |---|---|
//! | [`api_server`] | the API server's address and the credentials for it |
//! | [`dial`] | a connection to the API server, through a proxy if there is one |
//! | `upstream` | that connection under TLS |
//! | `transport`, `http1` | parsers and encoders without I/O, and the upgrade |
//! | `opener`, `transport_cache` | opens tunnels: choice of transport, backoff, spare connections |
//! | `connection` | the streams of one upgraded connection |
//! | `channel` | the fallback protocol: one WebSocket per connection |
//! | `pod`, `tunnels` | the connections to one pod, and to all of them |
//! | `failover` | carries a local connection, trying one pod after another |

pub mod api_server;
mod backend;
mod channel;
mod connection;
mod counters;
pub mod dial;
mod error;
mod failover;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod http1;
mod opener;
mod pod;
mod settings;
mod sync;
mod tap;
mod transport;
mod transport_cache;
mod tunnels;
mod upstream;

pub use backend::{Backend, Backends};
pub use counters::{CounterValues, Counters};
pub use pod::ConnectionStatus;
pub use settings::{Reopened, Settings};
pub use tap::Tap;
pub use transport::Transport;
pub use transport_cache::TransportCache;
pub use tunnels::Tunnels;

#[cfg(test)]
mod tests;
