//! What `ns ls`, `svc ls` and `fwd ls` share: a single list, or a watch.

use std::collections::HashSet;

use kubefwd_proto::control::v1::watch_response::Update;
use kubefwd_proto::control::v1::{Filter, ListRequest, WatchResponse};

use super::Session;
use crate::error::CliError;
use crate::follow::Follow;
use crate::mirror::{Delta, Mirror};
use crate::output::listing::{self, Follower, Listed};
use crate::output::shape::{self, Forward, Namespace, Service};

/// A kind of object that `List` and `Watch` return.
pub(crate) trait Viewed: Listed + PartialEq {
    /// All of them.
    fn all(mirror: &Mirror) -> Vec<Self>
    where
        Self: Sized;
    /// Those that a message may have changed.
    fn changed(delta: &Delta, mirror: &Mirror) -> Vec<Self>
    where
        Self: Sized;
    /// Those that a message removed.
    fn removed(delta: &Delta, mirror: &Mirror) -> Vec<Self>
    where
        Self: Sized;
}

/// Prints what there is and, with `watch`, every change until the daemon stops or the reader goes away.
///
/// # Errors
/// The daemon's refusal, a lost connection, or [`CliError::Output`].
pub(crate) async fn run<T: Viewed>(
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
        let list = answer.map_err(|status| CliError::from_status(what, &status))?;
        let mut mirror = Mirror::default();
        mirror.apply(WatchResponse {
            revision: 0,
            update: Some(Update::Snapshot(list.into_inner())),
        });
        return listing::print(&session.out, &T::all(&mirror), if_none);
    }
    let mut follow = Follow::open(&mut daemon, filter, &what).await?;
    follow.what = format!("stopped watching {}", T::PLURAL);
    let mut follower = Follower::new(session.out);
    follower.replace(T::all(&follow.mirror))?;
    loop {
        let delta = follow.receive().await?;
        if delta.replaced {
            follower.replace(T::all(&follow.mirror))?;
        } else {
            follower.remove(&T::removed(&delta, &follow.mirror))?;
            follower.change(T::changed(&delta, &follow.mirror))?;
        }
    }
}

impl Viewed for Namespace {
    fn all(mirror: &Mirror) -> Vec<Self> {
        mirror.namespaces.values().map(Self::from).collect()
    }

    fn changed(delta: &Delta, mirror: &Mirror) -> Vec<Self> {
        let present = delta
            .namespaces
            .iter()
            .filter_map(|id| mirror.namespaces.get(id));
        present.map(Self::from).collect()
    }

    fn removed(delta: &Delta, _: &Mirror) -> Vec<Self> {
        delta.removed_namespaces.iter().map(Self::from).collect()
    }
}

impl Viewed for Service {
    fn all(mirror: &Mirror) -> Vec<Self> {
        mirror.services.values().map(Self::from).collect()
    }

    fn changed(delta: &Delta, mirror: &Mirror) -> Vec<Self> {
        let present = delta
            .services
            .iter()
            .filter_map(|(id, _)| mirror.services.get(id));
        present.map(Self::from).collect()
    }

    fn removed(delta: &Delta, _: &Mirror) -> Vec<Self> {
        delta.removed_services.iter().map(Self::from).collect()
    }
}

impl Viewed for Forward {
    fn all(mirror: &Mirror) -> Vec<Self> {
        mirror.services.values().flat_map(shape::forwards).collect()
    }

    fn changed(delta: &Delta, mirror: &Mirror) -> Vec<Self> {
        let present = delta
            .services
            .iter()
            .filter_map(|(id, _)| mirror.services.get(id));
        present.flat_map(shape::forwards).collect()
    }

    /// Those of services that are gone, and those that a service no longer has.
    fn removed(delta: &Delta, mirror: &Mirror) -> Vec<Self> {
        let mut gone: Vec<Self> = delta
            .removed_services
            .iter()
            .flat_map(shape::forwards)
            .collect();
        for (id, before) in &delta.services {
            let (Some(before), Some(now)) = (before, mirror.services.get(id)) else {
                continue;
            };
            let kept: HashSet<&str> = now.forwards.iter().map(|f| f.key.as_str()).collect();
            let lost = shape::forwards(before).into_iter();
            gone.extend(lost.filter(|forward| !kept.contains(forward.key.as_str())));
        }
        gone
    }
}
