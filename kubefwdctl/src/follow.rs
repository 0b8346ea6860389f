//! The `Watch` call as a copy of what the daemon forwards that keeps itself up to date.

use kubefwd_proto::control::v1::{Filter, WatchRequest, WatchResponse};
use tonic::Streaming;

use crate::connect::Daemon;
use crate::error::CliError;
use crate::mirror::{Delta, Mirror};

/// An open watch with its copy.
pub(crate) struct Follow {
    stream: Streaming<WatchResponse>,
    /// What cannot be done, or ends, if the watch fails from now on.
    pub(crate) what: String,
    /// What is forwarded now.
    pub(crate) mirror: Mirror,
}

impl Follow {
    /// Opens the watch and waits for the snapshot that it starts with; `what` is what cannot be done if that fails.
    ///
    /// # Errors
    /// The daemon's refusal, or a lost connection.
    pub(crate) async fn open(
        daemon: &mut Daemon,
        filter: Filter,
        what: &str,
    ) -> Result<Self, CliError> {
        let request = WatchRequest {
            filter: Some(filter),
        };
        let answer = daemon.control.watch(request).await;
        let stream = answer
            .map_err(|status| CliError::from_status(what, &status))?
            .into_inner();
        let mut follow = Self {
            stream,
            what: what.to_owned(),
            mirror: Mirror::default(),
        };
        while !follow.receive().await?.replaced {}
        Ok(follow)
    }

    /// Waits for the next change. Safe to drop half-way.
    ///
    /// # Errors
    /// The daemon's refusal, or a lost connection: also when the daemon ends the watch, which has no end of its own.
    pub(crate) async fn receive(&mut self) -> Result<Delta, CliError> {
        match self.stream.message().await {
            Ok(Some(message)) => Ok(self.mirror.apply(message)),
            Ok(None) => Err(CliError::Lost {
                what: self.what.clone(),
                cause: "the daemon closed it, probably because it stops".to_owned(),
            }),
            Err(status) => Err(CliError::from_status(self.what.as_str(), &status)),
        }
    }
}
