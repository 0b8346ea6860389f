//! How long pods that refuse are retried.

use super::*;
use crate::Tunnels;
use crate::tests::fake::{Cluster, Pods as FakePods};

const WAIT: Duration = Duration::from_secs(60);

fn failover<'a>(tunnels: &'a Tunnels, backends: &'a FakePods) -> Failover<'a> {
    Failover {
        tunnels,
        backends,
        tried: Vec::new(),
        deadline: Instant::now() + WAIT,
        refused: None,
        failure: None,
        broken: 0,
    }
}

/// How long it waits before it gives up.
async fn gives_up_after(failover: &mut Failover<'_>) -> Duration {
    let began = Instant::now();
    assert_eq!(failover.backend().await, None);
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn pods_that_refuse_are_given_up_soon() {
    let tunnels = Cluster::start(|_| None).await.tunnels(|_| {});
    let pods = FakePods::new(&["one"]);
    let mut failover = failover(&tunnels, &pods);
    failover.mark_refused("one".to_owned());
    assert_eq!(gives_up_after(&mut failover).await, REFUSED_WAIT);
}

#[tokio::test(start_paused = true)]
async fn the_successor_of_a_pod_that_refused_may_come_late() {
    let tunnels = Cluster::start(|_| None).await.tunnels(|_| {});
    let pods = FakePods::new(&[]);
    let mut failover = failover(&tunnels, &pods);
    failover.mark_refused("one".to_owned());
    assert_eq!(gives_up_after(&mut failover).await, WAIT);
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_came_late_may_refuse_at_first_too() {
    let tunnels = Cluster::start(|_| None).await.tunnels(|_| {});
    let pods = FakePods::new(&[]);
    let mut failover = failover(&tunnels, &pods);
    failover.mark_refused("one".to_owned());
    let come = async {
        sleep(REFUSED_WAIT * 2).await;
        pods.set(&["two"]);
    };
    let (next, ()) = tokio::join!(failover.backend(), come);
    assert_eq!(next.unwrap().pod, "two");
    failover.mark_refused("two".to_owned());
    assert_eq!(gives_up_after(&mut failover).await, REFUSED_WAIT);
}
