//! The protocols between the three programs.
//!
//! - [`control`]: the public gRPC protocol of the daemon.
//! - [`worker`]: the private protocol between the daemon and the worker of one user, and its [`channel`], which carries
//!   frames and listening sockets over a socketpair.
//! - [`convert`]: between these messages and the public model.
//! - [`environment`]: which of a user's environment variables a worker may see.

pub mod channel;
pub mod convert;
pub mod environment;

/// Messages that both protocols use.
pub mod common {
    /// Version 1.
    pub mod v1 {
        #![expect(missing_docs, reason = "generated; documented in the .proto files")]
        tonic::include_proto!("kubefwd.common.v1");
    }
}

/// The public control protocol.
pub mod control {
    /// Version 1.
    pub mod v1 {
        #![expect(
            missing_docs,
            clippy::allow_attributes,
            reason = "generated; documented in the .proto files"
        )]
        tonic::include_proto!("kubefwd.control.v1");
    }
    /// Level of the protocol: grows when calls or fields are added, so that either side can tell that the other is older.
    pub const API_LEVEL: u32 = 1;
    /// Where the daemon listens by default.
    pub const DEFAULT_SOCKET: &str = match cfg!(target_os = "macos") {
        // There is no /run, and launchd, which listens here, creates no folder.
        true => "/var/run/kubefwdd.sock",
        false => "/run/kubefwd/kubefwdd.sock",
    };
}

/// The private worker protocol.
pub mod worker {
    /// Version 1.
    pub mod v1 {
        #![expect(missing_docs, reason = "generated; documented in the .proto files")]
        tonic::include_proto!("kubefwd.worker.v1");
    }
    /// Must be the same on both ends, which are installed together.
    pub const PROTOCOL: u32 = 3;
}
