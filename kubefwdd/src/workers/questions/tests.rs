//! Answers of workers that behave, and of those that do not.

use kubefwd_model::Uid;
use kubefwd_model::discovery::{LogPart, Namespace};
use tokio::sync::watch;

use super::super::{Outgoing, WorkerLog};
use super::*;

const SOON: Deadline = Deadline::Cluster(Duration::from_secs(5));

/// A user whose worker runs, and what the worker is told.
fn user() -> (Arc<User>, mpsc::Receiver<Outgoing>) {
    let (queue, told) = mpsc::channel(64);
    let user = User {
        uid: Uid::new(1),
        wanted: watch::Sender::new(false),
        environment: Mutex::default(),
        queue: Mutex::new(Some(queue)),
        questions: Questions::default(),
        start_error: watch::Sender::new(None),
        log: WorkerLog::new(Uid::new(1)),
    };
    (Arc::new(user), told)
}

fn frame(id: u64, last: bool, json: impl Into<Vec<u8>>) -> wire::Answer {
    wire::Answer {
        id,
        last,
        answer: Some(Content::Json(json.into())),
    }
}

/// Part of a log, as large as a frame may be.
fn mebibyte(id: u64) -> wire::Answer {
    let part = LogPart {
        logs: vec!["x".repeat(1024 * 1024 - 512)],
        ..LogPart::default()
    };
    frame(id, false, serde_json::to_vec(&part).unwrap())
}

/// The questions that the worker is told to cancel.
fn cancelled(told: &mut mpsc::Receiver<Outgoing>) -> Vec<u64> {
    let told = std::iter::from_fn(|| told.try_recv().ok());
    told.filter_map(|outgoing| match outgoing.frame {
        Frame::CancelQuery(cancel) => Some(cancel.id),
        _ => None,
    })
    .collect()
}

#[tokio::test]
async fn all_takes_every_part_and_one_only_a_single_one() {
    let (user, mut told) = user();
    let parts = [
        r#"[{"name":"a","status":""}]"#,
        r#"[{"name":"b","status":""}]"#,
    ];
    let ask = || {
        let (id, answers) = user.questions.open(user.clone()).unwrap();
        user.answer(frame(id, false, parts[0]));
        user.answer(frame(id, true, parts[1]));
        answers
    };
    let all: Vec<Vec<Namespace>> = ask().all(SOON).await.unwrap();
    let names: Vec<&str> = all.iter().flatten().map(|found| &*found.name).collect();
    assert_eq!(names, ["a", "b"]);
    let failure = ask().one(SOON).await.unwrap_err();
    assert_eq!(failure.reason, Reason::WorkerUnavailable, "{failure}");
    assert_eq!(cancelled(&mut told), [0; 0], "the worker had ended both");
    assert!(user.questions.is_empty());
}

#[tokio::test]
async fn an_asker_that_does_not_keep_up_gets_a_failure_and_the_worker_is_told_to_stop() {
    let (user, mut told) = user();
    let (id, mut slow) = user.questions.open(user.clone()).unwrap();
    for _ in 0..20 {
        user.answer(mebibyte(id));
    }
    assert!(user.questions.is_empty());
    assert_eq!(cancelled(&mut told), [id]);
    let mut kept = 0;
    let failure = loop {
        match slow.next::<LogPart>().await.unwrap() {
            Ok(_) => kept += 1,
            Err(failure) => break failure,
        }
    };
    assert_eq!(kept * 1024, limits::ANSWERS_KIB);
    assert_eq!(failure.reason, Reason::LimitExceeded, "{failure}");
    assert!(slow.next::<LogPart>().await.is_none(), "said once");
    // What was taken makes room for others.
    let (id, mut quick) = user.questions.open(user.clone()).unwrap();
    for _ in 0..20 {
        user.answer(mebibyte(id));
        assert!(quick.next::<LogPart>().await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn many_small_frames_are_bounded_too() {
    let (user, mut told) = user();
    let (id, slow) = user.questions.open(user.clone()).unwrap();
    for _ in 0..=limits::ANSWERS_KIB {
        user.answer(frame(id, false, "[]"));
    }
    assert_eq!(cancelled(&mut told), [id]);
    let failure = slow.all::<Vec<Namespace>>(SOON).await.unwrap_err();
    assert_eq!(failure.reason, Reason::LimitExceeded, "{failure}");
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_collected_for_ever() {
    let (user, mut told) = user();
    let (id, answers) = user.questions.open(user.clone()).unwrap();
    let collecting = tokio::spawn(answers.all::<LogPart>(SOON));
    while cancelled(&mut told).is_empty() {
        user.answer(mebibyte(id));
        tokio::task::yield_now().await;
    }
    let failure = collecting.await.unwrap().unwrap_err();
    assert_eq!(failure.reason, Reason::LimitExceeded, "{failure}");
}

#[tokio::test]
async fn a_malformed_part_is_a_failure_and_cancels() {
    for json in ["", "{", "[1]", "[{}]", r#"[{"name":"\ud800"}]"#, "null"] {
        let (user, mut told) = user();
        let (id, answers) = user.questions.open(user.clone()).unwrap();
        user.answer(frame(id, false, json));
        let failure = answers.all::<Vec<Namespace>>(SOON).await.unwrap_err();
        assert_eq!(failure.reason, Reason::WorkerUnavailable, "{json}");
        assert_eq!(cancelled(&mut told), [id], "{json}");
    }
}

#[tokio::test]
async fn when_the_worker_ends_every_asker_gets_the_reason() {
    let (user, _told) = user();
    let (id, mut waiting) = user.questions.open(user.clone()).unwrap();
    user.answer(frame(id, false, "[]"));
    user.questions.fail_all("killed");
    assert!(waiting.next::<Vec<Namespace>>().await.unwrap().is_ok());
    let failure = waiting.next::<Vec<Namespace>>().await.unwrap().unwrap_err();
    assert_eq!(failure.reason, Reason::WorkerUnavailable);
    assert!(failure.message.contains("killed"), "{failure}");
}

#[tokio::test]
async fn a_worker_cannot_put_control_characters_into_a_failure() {
    let (user, _told) = user();
    let (id, answers) = user.questions.open(user.clone()).unwrap();
    let failure = Failure::new(Reason::Internal, "a\u{1b}[2J\nb");
    user.answer(wire::Answer {
        id,
        last: true,
        answer: Some(Content::Failure(failure.into())),
    });
    assert_eq!(answers.one(SOON).await.unwrap_err().message, "a [2J b");
}
