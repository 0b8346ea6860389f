//! Requests are bounded and belong to their listener.

use kubefwd_core::samples::forward;

use super::*;

fn exchange(listener: u64, path: &str, status: u16) -> (ListenerId, Exchange) {
    let exchange = Exchange {
        time: SystemTime::now(),
        method: "GET".to_owned(),
        path: path.to_owned(),
        status,
        duration: Duration::ZERO,
        size: 0,
        protocol: "HTTP/1.1".to_owned(),
        grpc_status: None,
    };
    (ListenerId(listener), exchange)
}

#[test]
fn each_listener_has_its_own_requests() {
    let log = HttpLog::default();
    let (mut one, mut two) = (forward("a", 80), forward("b", 81));
    (one.listener, two.listener) = (ListenerId(1), ListenerId(2));
    let forwards = [one, two];
    log.forwards_changed(5.into(), &[], &forwards);
    let exchanges = vec![
        exchange(1, "/x", 200),
        exchange(2, "/y", 404),
        exchange(1, "/x", 101),
        exchange(9, "/", 200),
    ];
    log.reported(
        5.into(),
        HttpReport {
            exchanges,
            dropped: vec![(ListenerId(1), 3)],
        },
    );
    // Another user's worker cannot write there.
    log.reported(
        6.into(),
        HttpReport {
            exchanges: vec![exchange(1, "/z", 200)],
            ..Default::default()
        },
    );
    let of = |n: usize| log.summary(5.into(), &forwards[n..=n]);
    assert_eq!(
        (of(0).total, of(0).dropped, of(0).classes),
        (5, 3, [1, 1, 0, 0, 0])
    );
    assert_eq!(of(0).top_paths, [("/x".to_owned(), 2)]);
    assert_eq!((of(1).total, of(1).classes), (1, [0, 0, 0, 1, 0]));
    assert_eq!(log.summary(5.into(), &forwards).total, 6);
    log.forwards_changed(5.into(), &forwards, &forwards[1..]);
    assert_eq!(of(0).total, 0);
    assert!(log.users.lock()[&Uid::new(5)].rings.len() == 1);
    log.forwards_changed(5.into(), &forwards[1..], &[]);
    assert!(log.users.lock().is_empty());
}

#[test]
fn what_a_hostile_worker_says_is_bounded_and_clean() {
    let log = HttpLog::default();
    let mut forwards = vec![forward("a", 80); 20];
    for (number, forward) in (1..).zip(&mut forwards) {
        forward.listener = ListenerId(number);
    }
    log.forwards_changed(5.into(), &[], &forwards);
    let future = SystemTime::now() + Duration::from_secs(1_000_000);
    let limit = 20_000;
    for number in 1..1_000 {
        let (listener, exchange) = exchange(number % 20 + 1, &"/\n".repeat(5_000), 0);
        let exchange = Exchange {
            time: future,
            method: "\u{1b}[31m".repeat(1_000),
            grpc_status: Some(7),
            ..exchange
        };
        let exchanges = vec![(listener, exchange)];
        let report = HttpReport {
            exchanges,
            dropped: vec![(ListenerId(1), u64::MAX)],
        };
        log.take(5.into(), report, limit);
        let users = log.users.lock();
        let user = &users[&Uid::new(5)];
        let held: usize = user.rings.values().map(HttpRing::held).sum();
        assert_eq!(user.held, held);
        assert!(held <= limit, "{held}");
    }
    let kept = forwards
        .iter()
        .flat_map(|forward| log.newest(5.into(), forward, 9));
    let kept: Vec<Exchange> = kept.collect();
    assert!(!kept.is_empty());
    for exchange in kept {
        assert!(exchange.time <= SystemTime::now() && exchange.status == 0);
        assert!(exchange.path.len() <= PATH && exchange.method.len() <= WORD);
        assert!(!(exchange.path + &exchange.method).contains(char::is_control));
        assert_eq!(exchange.grpc_status, Some(7));
    }
    assert_eq!(log.summary(5.into(), &forwards).total, u64::MAX);
}

#[test]
fn the_ring_is_bounded_and_gives_the_newest_first() {
    let log = HttpLog::default();
    let forwards = [forward("a", 80)];
    log.forwards_changed(5.into(), &[], &forwards);
    let listener = forwards[0].listener.0;
    let exchanges = (0..1_000)
        .map(|n| exchange(listener, &format!("/{n}"), 200))
        .collect();
    log.reported(
        5.into(),
        HttpReport {
            exchanges,
            ..Default::default()
        },
    );
    let newest = log.newest(5.into(), &forwards[0], 1_000);
    assert_eq!(
        (newest.len(), newest[0].path.as_str()),
        (PER_FORWARD, "/999")
    );
    assert_eq!(log.summary(5.into(), &forwards).total, 1_000);
}
