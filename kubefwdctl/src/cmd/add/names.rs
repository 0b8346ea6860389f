//! Which names the services do not have that were added: whoever uses one of them is led elsewhere, or nowhere.

use std::collections::{BTreeMap, BTreeSet};

use kubefwd_model::RefusedName;
use kubefwd_proto::control::v1::{Filter, ListRequest};

use crate::cache::Cache;
use crate::connect::Daemon;
use crate::error::{Answer as _, CliError};
use crate::item::ServiceItem;
use crate::output::Output;
use crate::progress::{Progress, Targets};

/// Reasons that are told; `svc ls` has all of them.
const MOST_REASONS: usize = 3;
/// Names that are told with a reason.
const MOST_NAMES: usize = 3;

/// Tells which names these services do not have, and why.
pub(super) fn tell(out: &Output, services: &[ServiceItem]) {
    let mut by_reason: BTreeMap<&str, Vec<&RefusedName>> = BTreeMap::new();
    for item in services {
        // The shortest says it: they come first.
        let mut told = BTreeSet::new();
        for name in &item.service.refused_names {
            if told.insert(&name.reason) {
                by_reason.entry(&name.reason).or_default().push(name);
            }
        }
    }
    for (reason, names) in by_reason.iter().take(MOST_REASONS) {
        let shown = names.iter().take(MOST_NAMES);
        let mut text = shown
            .map(|name| name.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        if names.len() > MOST_NAMES {
            text += &format!(" and {} more", names.len() - MOST_NAMES);
        }
        let hint = names.first().map_or("", |name| name.hint.as_str());
        out.warning(&format!("{text}: {reason}"), hint);
    }
    if by_reason.len() > MOST_REASONS {
        out.note("`kubefwdctl svc ls -o json` lists all names that services do not have");
    }
}

/// Tells what is known of names as soon as something was added, without waiting for its services.
///
/// # Errors
/// A lost connection.
pub(super) async fn tell_known(
    out: &Output,
    daemon: &mut Daemon,
    targets: Targets,
) -> Result<(), CliError> {
    let request = ListRequest {
        filter: Some(Filter::default()),
    };
    let what = "cannot list what was added";
    let list = daemon.control.list(request).await.answered(what)?;
    let cache = Cache::of(list).map_err(|error| CliError::malformed(what, error))?;
    for key in &targets.namespaces {
        for item in cache.namespaces_with_key(key) {
            for note in &item.namespace.notes {
                out.warning(note, "");
            }
        }
    }
    let services = Progress::new(targets, &cache).services(&cache);
    tell(out, &services);
    Ok(())
}
