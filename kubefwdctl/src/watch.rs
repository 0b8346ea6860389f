//! The `Watch` call: keeps a cache of what the daemon forwards up to date.

use kubefwd_proto::control::v1::{Filter, WatchRequest, WatchResponse};
use tonic::Streaming;

use crate::cache::{Cache, Delta};
use crate::connect::Daemon;
use crate::error::{Answer as _, CliError};

/// An open watch with its cache.
pub(crate) struct Watch {
    stream: Streaming<WatchResponse>,
    /// What to report if the watch fails from now on.
    pub(crate) what: String,
    /// What is forwarded now.
    pub(crate) cache: Cache,
}

impl Watch {
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
        let stream = answer.answered(what)?;
        let mut watch = Self {
            stream,
            what: what.to_owned(),
            cache: Cache::default(),
        };
        while !watch.next().await?.replaced {}
        Ok(watch)
    }

    /// Waits for the next change. Cancel-safe.
    ///
    /// # Errors
    /// The daemon's refusal, or a lost connection, also if the daemon ends the watch: it never ends by itself.
    pub(crate) async fn next(&mut self) -> Result<Delta, CliError> {
        match self.stream.message().await {
            Ok(Some(message)) => {
                let applied = self.cache.apply(message);
                applied.map_err(|error| CliError::malformed(self.what.as_str(), error))
            }
            Ok(None) => Err(CliError::stream_ended(self.what.as_str())),
            Err(status) => Err(CliError::from_status(self.what.as_str(), &status)),
        }
    }
}
