//! PINGs, answered and not.

use super::*;

const BUSY: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);

fn health(now: Instant) -> Health {
    let settings = Settings {
        ping_busy: BUSY,
        ping_idle: Duration::from_secs(20),
        ping_timeout: TIMEOUT,
        ..Settings::default()
    };
    Health::new(Arc::new(settings), Duration::from_millis(10), now)
}

fn sent(verdict: Verdict) -> Vec<u32> {
    let Verdict::Send(ids) = verdict else {
        panic!("{verdict:?}")
    };
    ids
}

#[test]
fn two_misses_in_silence_are_death() {
    let start = Instant::now();
    let mut health = health(start);
    let now = start + BUSY;
    assert_eq!(sent(health.tick(now, 1, false)), [1]);
    let now = now + TIMEOUT;
    assert_eq!(sent(health.tick(now, 1, false)), [3]);
    let now = now + TIMEOUT;
    assert!(matches!(health.tick(now, 1, false), Verdict::Dead(_)));
}

#[test]
fn an_answer_is_life() {
    let start = Instant::now();
    let mut health = health(start);
    let mut now = start;
    for _ in 0..20 {
        now = health.deadline();
        let ids = sent(health.tick(now, 0, false));
        for id in ids {
            health.heard(now + Duration::from_millis(3));
            health.answered(id, now + Duration::from_millis(3));
        }
    }
    assert!(
        now - start > Duration::from_secs(300),
        "idle PINGs are far apart"
    );
    assert!(health.smoothed < Duration::from_millis(6));
}

#[test]
fn a_slow_upgrade_is_no_queue() {
    let start = Instant::now();
    let settings = Arc::new(Settings::default());
    let mut health = Health::new(settings, Duration::from_millis(400), start);
    let mut now = health.deadline();
    for id in sent(health.tick(now, 1, false)) {
        health.answered(id, now + Duration::from_millis(1));
        assert!(!health.is_queueing());
    }
    now = health.deadline();
    for _ in 0..8 {
        for id in sent(health.tick(now, 1, false)) {
            health.answered(id, now + Duration::from_millis(100));
        }
        now = health.deadline();
    }
    assert!(health.is_queueing());
}

#[test]
fn four_of_five_is_a_wedge_and_is_not_probed_again() {
    let start = Instant::now();
    let mut health = health(start);
    let ids = sent(health.probe(start));
    assert_eq!(ids.len(), 5);
    for id in &ids[1..] {
        health.heard(start + Duration::from_millis(5));
        health.answered(*id, start + Duration::from_millis(5));
    }
    let now = health.deadline();
    assert!(matches!(health.tick(now, 3, false), Verdict::Quarantine(_)));
    assert_eq!(health.probe(now), Verdict::Fine);
}

#[test]
fn silence_after_a_large_upload_is_a_stall_and_not_death() {
    let start = Instant::now();
    let mut health = health(start);
    health.sent(STALLING_BYTES);
    let mut now = start + BUSY;
    let mut quarantined = false;
    for _ in 0..20 {
        match health.tick(now, 1, false) {
            Verdict::Dead(why) => panic!("declared dead: {why}"),
            Verdict::Quarantine(_) => quarantined = true,
            Verdict::Fine | Verdict::Send(_) => {}
        }
        now = health.deadline().max(now + Duration::from_millis(1));
    }
    assert!(quarantined);
}

#[test]
fn after_a_resume_one_missed_second_is_enough() {
    let start = Instant::now();
    let mut health = health(start);
    assert_eq!(sent(health.verify(start)).len(), 1);
    assert!(matches!(
        health.tick(start + VERIFY_TIMEOUT, 0, false),
        Verdict::Dead(_)
    ));
}

#[test]
fn foreign_and_old_answers_change_nothing() {
    let start = Instant::now();
    let mut health = health(start);
    let ids = sent(health.probe(start));
    for id in [0, 2, 99, u32::MAX] {
        health.answered(id, start);
    }
    assert!(health.waiting.is_some());
    for id in ids {
        health.answered(id, start);
    }
    assert!(health.waiting.is_none());
}
