//! The `Watch` call: keeps a copy of what the daemon forwards up to date.

use kubefwd_proto::control::v1::{Filter, WatchRequest, WatchResponse};
use tonic::Streaming;

use crate::connect::Daemon;
use crate::error::CliError;
use crate::mirror::{Delta, Mirror};

/// An open watch with its copy.
pub(crate) struct Follow {
    stream: Streaming<WatchResponse>,
    /// What to report if the watch fails from now on.
    pub(crate) what: String,
    /// What is forwarded now.
    pub(crate) mirror: Mirror,
}

impl Follow {
    /// Opens the watch and waits for its initial snapshot; `what` is reported if that fails.
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
    /// The daemon's refusal, or a lost connection, also if the daemon ends the watch: it never ends by itself.
    pub(crate) async fn receive(&mut self) -> Result<Delta, CliError> {
        match self.stream.message().await {
            Ok(Some(message)) => Ok(self.mirror.apply(message)),
            Ok(None) => Err(CliError::Lost {
                what: self.what.clone(),
                cause: "the daemon closed it, probably because it is stopping".to_owned(),
            }),
            Err(status) => Err(CliError::from_status(self.what.as_str(), &status)),
        }
    }
}
