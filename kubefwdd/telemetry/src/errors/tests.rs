//! An error has its own time, and each user a ring of their own.

use std::time::Duration;

use super::*;

fn found(port: u16, message: &str) -> Found {
    Found {
        forward: Some((Ipv4Addr::new(127, 1, 27, 1), port, format!("k.{port}"))),
        pod: None,
        component: Component::Connection,
        kind: "unknown",
        message: message.to_owned(),
        hint: String::new(),
        recoverable: true,
    }
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

#[test]
fn an_error_keeps_its_time_until_it_is_over() {
    let log = ErrorLog::default();
    let holder = Holder::Worker(7.into());
    log.settle(&holder, vec![found(80, "a"), found(81, "b")], at(1));
    log.settle(&holder, vec![found(81, "b"), found(80, "c")], at(2));
    let open = log.open(10, |uid| uid == 7.into());
    let texts: Vec<_> = open
        .iter()
        .map(|e| (e.found.message.as_str(), e.time))
        .collect();
    assert_eq!(texts, [("c", at(2)), ("b", at(1))]);
    log.settle(&holder, Vec::new(), at(3));
    assert!(log.open(10, |_| true).is_empty());
    let ends: Vec<_> = log
        .newest(10, |_| true)
        .iter()
        .map(|e| e.resolved_at)
        .collect();
    assert_eq!(ends, [Some(at(3)), Some(at(3)), Some(at(2))]);
}

#[test]
fn one_user_cannot_push_out_another() {
    let log = ErrorLog::default();
    log.settle(&Holder::Worker(1.into()), vec![found(1, "mine")], at(0));
    for n in 0..2 * PER_USER as u64 {
        log.settle(
            &Holder::Worker(2.into()),
            vec![found(1, &n.to_string())],
            at(n),
        );
    }
    assert_eq!(
        log.newest(10, |uid| uid == 1.into())[0].found.message,
        "mine"
    );
    assert_eq!(log.count(|_| true), PER_USER + 1);
    // Open errors outlive those that are over.
    assert_eq!(log.open(10, |uid| uid == 2.into()).len(), 1);
}

#[test]
fn the_type_of_an_error_comes_from_its_reason() {
    for (reason, kind) in [
        (Reason::ConnectionRefused, "connection_refused"),
        (Reason::Timeout, "timeout"),
        (Reason::PodNotFound, "pod_not_found"),
        (Reason::ConnectionLost, "broken_pipe"),
        (Reason::PortUnavailable, "address"),
        (Reason::Internal, "unknown"),
    ] {
        let failure = Failure::new(reason, "any words: refused, timeout");
        assert_eq!(Found::of(&failure).kind, kind);
    }
}
