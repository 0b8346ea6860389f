//! Reading the configuration again: what can change while the daemon runs changes, without the end of a connection; what
//! cannot is said. A configuration that cannot be used changes nothing.

use std::fmt::Debug;

use anyhow::{Context, Result};
use kubefwd_core::names::NameRules;
use kubefwd_core::state::{Command, Topic};
use kubefwd_rest::Identification;
use tokio::sync::watch;

use super::machine::{self, Logs};
use super::notify;
use crate::cli::Flags;
use crate::config::Config;
use crate::paths::{self, Paths};
use crate::rest_control;
use crate::store_handle::StoreHandle;

/// What can change while the daemon runs; for all other keys [`fixed`] says whether they have.
#[cfg(test)]
const LIVE: [&str; 10] = [
    "log",
    "rest.identity",
    "rest.token_file",
    "rest.root",
    "names.dashed",
    "names.domains",
    "names.allow_suffixes",
    "addresses.reserve",
    "forwarding.access",
    "limits.services_per_user",
];

/// What a reload needs.
pub(super) struct Reload {
    pub(super) flags: Flags,
    /// What the daemon was started with.
    pub(super) started: (Config, Paths),
    pub(super) logs: Logs,
    pub(super) identification: Identification,
    pub(super) rules: watch::Sender<NameRules>,
    pub(super) store: StoreHandle,
}

// === impl Reload ===

impl Reload {
    /// Reads the configuration and takes over what can be; problems are logged and shown in the status.
    pub(super) async fn run(&self) {
        notify::reloading();
        let path = self.started.1.config.display();
        let warnings = match self.apply().await {
            Ok(unchanged) if unchanged.is_empty() => Vec::new(),
            Ok(unchanged) => vec![format!(
                "{} in {path} changed, which needs a restart: `sudo systemctl restart kubefwdd`",
                unchanged.join(", ")
            )],
            Err(error) => vec![format!(
                "the changed configuration is invalid, and the old one stays in force: {error:#}"
            )],
        };
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        if warnings.is_empty() {
            tracing::info!(%path, "configuration reloaded");
        }
        let topic = Topic::Configuration;
        let told = self.store.apply(Command::SetWarnings { topic, warnings });
        // A store that is gone needs no settings: the daemon is stopping.
        let _ = told.await;
        notify::ready();
    }

    /// Takes over what can be; gives back the keys that changed and cannot.
    async fn apply(&self) -> Result<Vec<&'static str>> {
        // Everything that can fail comes first.
        let (config, paths) = paths::resolve(&self.flags)?;
        let settings = machine::settings(&config)?;
        let suffixes = config.allowed_suffixes()?;
        self.identification
            .change(rest_control::settings(&config.rest))?;
        self.logs
            .set_filter(self.flags.log.as_deref().or(config.log.as_deref()))
            .context("log")?;
        self.rules
            .send_modify(|rules| rules.allowed_suffixes = suffixes);
        let changed = Command::SetSettings(Box::new(settings));
        self.store.request(changed).await??;
        Ok(changed_keys(&self.started, &(config, paths)))
    }
}

fn changed_keys(old: &(Config, Paths), new: &(Config, Paths)) -> Vec<&'static str> {
    let (old, new) = (fixed(&old.0, &old.1), fixed(&new.0, &new.1));
    let pairs = old.into_iter().zip(new);
    pairs
        .filter(|((_, old), (_, new))| old != new)
        .map(|((key, _), _)| key)
        .collect()
}

/// The values that hold until the next start.
fn fixed(config: &Config, paths: &Paths) -> [(&'static str, String); 11] {
    let text = |value: &dyn Debug| format!("{value:?}");
    let (forwarding, http) = (&config.forwarding, &config.http);
    [
        ("socket", text(&paths.socket)),
        ("state_dir", text(&paths.state_dir)),
        ("hosts_file", text(&paths.hosts)),
        ("worker", text(&paths.worker)),
        ("rest.listen", text(&config.rest.listen)),
        ("rest.socket", text(&paths.rest_socket)),
        ("addresses.range", text(&config.addresses.range)),
        (
            "forwarding.no_backend_wait",
            text(&forwarding.no_backend_wait),
        ),
        (
            "forwarding.half_close_grace",
            text(&forwarding.half_close_grace),
        ),
        ("http.capture", text(&http.capture)),
        ("http.keep_queries", text(&http.keep_queries)),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::config::KEYS;

    fn parsed(text: &str) -> (Config, Paths) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let flags = Flags {
            config: Some(file.path().to_owned()),
            ..Flags::default()
        };
        paths::resolve(&flags).unwrap()
    }

    #[test]
    fn every_key_either_changes_or_says_that_it_cannot() {
        let (config, paths) = parsed("");
        let fixed = fixed(&config, &paths).map(|(key, _)| key);
        let all: BTreeSet<&str> = LIVE.into_iter().chain(fixed).collect();
        assert_eq!(all, KEYS.iter().copied().collect());
    }

    #[test]
    fn what_cannot_change_is_named() {
        let (old, new) = (
            parsed("[limits]\nservices_per_user = 5"),
            parsed(
                "socket = \"/x\"\n[addresses]\nrange = \"127.0.0.0/9\"\n[limits]\nservices_per_user = 6",
            ),
        );
        assert_eq!(new.1.socket, Path::new("/x"));
        let changed = changed_keys(&old, &new);
        assert_eq!(changed, ["socket", "addresses.range"]);
        assert!(changed_keys(&old, &old).is_empty());
    }
}
