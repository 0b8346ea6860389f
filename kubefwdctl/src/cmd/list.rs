//! What `ns ls`, `svc ls` and `fwd ls` share: a single list, or a watch.

use std::collections::HashSet;

use kubefwd_proto::control::v1::{Filter, ListRequest};

use crate::cache::{Cache, Delta};
use crate::error::CliError;
use crate::item::{ForwardItem, NamespaceItem, ServiceItem};
use crate::output::changes::ChangePrinter;
use crate::output::listing::{self, Listed};
use crate::session::Session;
use crate::watch::Watch;

/// A kind of object that `List` and `Watch` return.
pub(crate) trait Cached: Listed {
    /// All of them.
    fn all(cache: &Cache) -> Vec<Self>
    where
        Self: Sized;
    /// Those that a message may have changed.
    fn changed(delta: &Delta, cache: &Cache) -> Vec<Self>
    where
        Self: Sized;
    /// Those that a message removed.
    fn removed(delta: &Delta, cache: &Cache) -> Vec<Self>
    where
        Self: Sized;
}

/// Prints what there is and, with `watch`, every change until the daemon stops or the reader goes away.
///
/// # Errors
/// The daemon's refusal, a lost connection, or [`CliError::Output`].
pub(crate) async fn run<T: Cached>(
    session: &Session,
    filter: Filter,
    watch: bool,
    if_none: &str,
) -> Result<(), CliError> {
    let mut daemon = session.connect().await?;
    let what = format!("cannot list {}", T::PLURAL);
    if !watch {
        let request = ListRequest {
            filter: Some(filter),
        };
        let answer = daemon.control.list(request).await;
        let list = answer.map_err(|status| CliError::from_status(&what, &status))?;
        let cache =
            Cache::of(list.into_inner()).map_err(|error| CliError::malformed(what, error))?;
        return listing::print(&session.out, &T::all(&cache), if_none);
    }
    let mut watch = Watch::open(&mut daemon, filter, &what).await?;
    watch.what = format!("stopped watching {}", T::PLURAL);
    let mut printer = ChangePrinter::new(session.out);
    printer.replace(T::all(&watch.cache))?;
    loop {
        let delta = watch.next().await?;
        if delta.replaced {
            printer.replace(T::all(&watch.cache))?;
        } else {
            printer.remove(&T::removed(&delta, &watch.cache))?;
            printer.change(T::changed(&delta, &watch.cache))?;
        }
    }
}

impl Cached for NamespaceItem {
    fn all(cache: &Cache) -> Vec<Self> {
        cache.namespaces.values().cloned().collect()
    }

    fn changed(delta: &Delta, cache: &Cache) -> Vec<Self> {
        let present = delta
            .namespaces
            .iter()
            .filter_map(|id| cache.namespaces.get(id));
        present.cloned().collect()
    }

    fn removed(delta: &Delta, _: &Cache) -> Vec<Self> {
        delta.removed_namespaces.clone()
    }
}

impl Cached for ServiceItem {
    fn all(cache: &Cache) -> Vec<Self> {
        cache.services.values().cloned().collect()
    }

    fn changed(delta: &Delta, cache: &Cache) -> Vec<Self> {
        let present = delta
            .services
            .iter()
            .filter_map(|(id, _)| cache.services.get(id));
        present.cloned().collect()
    }

    fn removed(delta: &Delta, _: &Cache) -> Vec<Self> {
        delta.removed_services.clone()
    }
}

impl Cached for ForwardItem {
    fn all(cache: &Cache) -> Vec<Self> {
        cache
            .services
            .values()
            .flat_map(ServiceItem::forwards)
            .collect()
    }

    fn changed(delta: &Delta, cache: &Cache) -> Vec<Self> {
        let present = delta
            .services
            .iter()
            .filter_map(|(id, _)| cache.services.get(id));
        present.flat_map(ServiceItem::forwards).collect()
    }

    /// Those of services that are gone, and those that a service no longer has.
    fn removed(delta: &Delta, cache: &Cache) -> Vec<Self> {
        let mut gone: Vec<Self> = delta
            .removed_services
            .iter()
            .flat_map(ServiceItem::forwards)
            .collect();
        for (id, before) in &delta.services {
            let (Some(before), Some(now)) = (before, cache.services.get(id)) else {
                continue;
            };
            let now = now.service.forwards.iter();
            let kept: HashSet<&str> = now.map(|forward| forward.key.as_str()).collect();
            let lost = before.forwards().into_iter();
            gone.extend(lost.filter(|item| !kept.contains(item.forward.key.as_str())));
        }
        gone
    }
}
