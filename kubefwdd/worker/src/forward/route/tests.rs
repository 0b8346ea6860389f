//! Connections before the pods are known.

use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::forward::context_tunnels::LIST_TIMEOUT;
use crate::forward::routes::Routes;

#[tokio::test(start_paused = true)]
async fn the_first_list_may_take_longer_than_a_pod() {
    for (no_backend_wait, wait) in [
        (Duration::ZERO, LIST_TIMEOUT),
        (Duration::from_secs(60), Duration::from_secs(60)),
    ] {
        let routes = Routes::new("demo", Arc::new(ContextTunnels::new(no_backend_wait)));
        let policy = ConnectionPolicy {
            balance: Balance::Primary,
            capture: false,
        };
        let route = routes.get_or_create("web", policy);
        let began = Instant::now();
        assert!(route.tunnels_in_time().await.is_none());
        assert_eq!(began.elapsed(), wait);
    }
}
