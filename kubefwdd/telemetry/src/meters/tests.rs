//! Rates, totals and histories.

use kubefwd_core::samples::{forward, service};

use super::*;

/// Meters whose two clocks are set by the test.
struct Clocked {
    meters: Meters,
    start: Instant,
    /// By how much the wall clock was set back, in milliseconds.
    back: u64,
}

impl Clocked {
    fn new() -> Self {
        Self {
            meters: Meters::default(),
            start: Instant::now(),
            back: 0,
        }
    }

    fn at(&self, millis: u64) -> (SystemTime, Instant) {
        let wall = Duration::from_millis(1_700_000_000_000 + millis - self.back);
        (
            UNIX_EPOCH + wall,
            self.start + Duration::from_millis(millis),
        )
    }

    fn sample(&self, service: &model::Service, millis: u64) {
        let (wall, running) = self.at(millis);
        self.meters.sample_at(service, wall, running);
    }

    fn read(&self, millis: u64) -> Reading<'_> {
        let (wall, running) = self.at(millis);
        self.meters.read_at(wall, running)
    }
}

fn moved(port: u16, bytes: u64) -> model::Service {
    let mut forward = forward("api.shop.kind.api-1.80", port);
    forward.traffic.bytes_in = bytes;
    model::Service {
        forwards: vec![forward],
        ..service(0.into(), "api", "shop", "kind")
    }
}

#[test]
fn a_steady_flow_has_its_rate_and_a_pause_has_none() {
    let meters = Clocked::new();
    for second in 1..=20 {
        meters.sample(&moved(80, second * 1_000), second * 1_000);
    }
    let service = moved(80, 20_000);
    let rates = |at| {
        let reading = meters.read(at);
        let forward = reading.forward_rates(&service.key, &service.forwards[0]);
        let (_, sum) = reading.service(&service);
        assert_eq!(sum, forward.now);
        (sum.rate_in, forward.avg_rate_in)
    };
    assert_eq!(rates(20_100), (1_000.0, 1_000.0));
    assert_eq!(rates(25_000), (0.0, 500.0));
    let (_, much_later) = meters.read(40_000).service(&service);
    assert_eq!(much_later, Rates::default());
}

#[test]
fn a_wall_clock_that_is_set_back_changes_no_rate() {
    let mut meters = Clocked::new();
    for second in 1..=20 {
        if second == 10 {
            meters.back = 3_600_000;
        }
        meters.sample(&moved(80, second * 1_000), second * 1_000);
    }
    let service = moved(80, 20_000);
    let reading = meters.read(20_100);
    let rates = reading.forward_rates(&service.key, &service.forwards[0]);
    assert_eq!((rates.now.rate_in, rates.avg_rate_in), (1_000.0, 1_000.0));
    drop(reading);
    let (_, later) = meters.read(40_000).service(&service);
    assert_eq!(later, Rates::default());
}

#[test]
fn totals_outlive_a_forward_and_its_counters() {
    let meters = Clocked::new();
    meters.sample(&moved(80, 700), 0);
    // Its pod was replaced, and with it the place it listens at.
    meters.sample(&moved(81, 50), 1_000);
    // The counters at that place start again.
    let last = moved(81, 20);
    meters.sample(&last, 2_000);
    let reading = meters.read(2_000);
    assert_eq!(reading.service(&last).0.bytes_in, 770);
    let history = reading.history(&last.key, 1, 3);
    assert_eq!(
        history.iter().map(|b| b.bytes_in).collect::<Vec<_>>(),
        [700, 50, 20]
    );
}

#[test]
fn a_service_that_never_moved_costs_nothing() {
    let meters = Clocked::new();
    meters.sample(&moved(80, 0), 0);
    assert!(meters.meters.inner.lock().services.is_empty());
}
