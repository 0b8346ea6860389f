//! Tasks that pass on what other tasks publish.

use kubefwd_core::names::NameRules;
use kubefwd_core::state::{Command, Report, Topic};
use kubefwd_core::status::HostsStatus;
use tokio::sync::watch;

use crate::hosts::Wanted;
use crate::store_handle::StoreHandle;

/// Tells the store what became of the hosts file: which names are in it, and which names others put there.
pub(super) async fn follow_hosts(
    mut status: watch::Receiver<HostsStatus>,
    store: StoreHandle,
    mut rules: watch::Receiver<NameRules>,
) {
    let mut settled = 0;
    loop {
        let changed = tokio::select! {
            changed = status.changed() => changed,
            changed = rules.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        let now = status.borrow_and_update().clone();
        let told = match now.error {
            // Where the file cannot be written there is nothing to wait for.
            Some(_) => store.report(Report::HostsFailed, None).await,
            None if now.revision > settled => {
                settled = now.revision;
                let revision = now.revision;
                store.report(Report::HostsWritten { revision }, None).await
            }
            None => Ok(()),
        };
        if told.is_err() {
            return;
        }
        let hosts_lines = (*now.foreign_names).clone();
        let rules = NameRules {
            hosts_lines,
            ..rules.borrow_and_update().clone()
        };
        let changed = Command::SetNameRules(rules);
        if store.apply(changed).await.is_err() {
            return;
        }
    }
}

/// Shows in the status why the state cannot be saved.
pub(super) async fn follow_saving(mut saving: watch::Receiver<Option<String>>, store: StoreHandle) {
    while saving.changed().await.is_ok() {
        let warnings = saving.borrow_and_update().iter().cloned().collect();
        let topic = Topic::Saving;
        let command = Command::SetWarnings { topic, warnings };
        if store.apply(command).await.is_err() {
            return;
        }
    }
}

/// Waits until the names that were known at start are in the hosts file, or cannot be written.
pub(super) async fn first_names_are_written(
    mut status: watch::Receiver<HostsStatus>,
    wanted: &watch::Sender<Wanted>,
) {
    let mut asked = wanted.subscribe();
    let first = asked
        .wait_for(|wanted| wanted.revision > 0)
        .await
        .map(|wanted| wanted.revision);
    let Ok(first) = first else { return };
    let _ = status
        .wait_for(|status| status.revision >= first || status.error.is_some())
        .await;
}
