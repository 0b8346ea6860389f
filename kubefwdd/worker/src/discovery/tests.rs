//! Questions that need no cluster.

use kubefwd_model::discovery::Contexts;
use kubefwd_proto::worker::v1::{Answer, CheckQuery, ListContextsQuery, ListPodsQuery};

use kubefwd_model::Reason;

use super::*;
use crate::auth::kubeconfig::Environment;

const KUBECONFIG: &str = "
current-context: real
contexts:
- name: real
  context: {cluster: c, user: u, namespace: team}
- name: broken
  context: {cluster: gone}
clusters:
- name: c
  cluster: {server: 'https://127.0.0.1:1'}
users:
- name: u
  user: {token: t}
";

async fn ask_offline(question: Question, context: &str) -> Vec<Answer> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    std::fs::write(&path, KUBECONFIG).unwrap();
    let query = Query {
        id: 5,
        context: context.to_owned(),
        kubeconfig: vec![path.display().to_string()],
        question: Some(question),
    };
    let clusters = Clusters::new(Environment::new());
    let (sender, receiver) = mpsc::channel(4);
    let (answers, ()) = tokio::join!(collected(receiver), answer(&clusters, query, sender));
    answers
}

/// All answers until the sender is gone.
pub(super) async fn collected(mut frames: mpsc::Receiver<Frame>) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(frame) = frames.recv().await {
        match frame {
            Frame::Answer(answer) => answers.push(answer),
            other => panic!("{other:?}"),
        }
    }
    answers
}

fn content(mut answers: Vec<Answer>) -> Content {
    assert_eq!(answers.len(), 1);
    let answer = answers.remove(0);
    assert!(answer.last && answer.id == 5);
    answer.answer.unwrap()
}

#[tokio::test]
async fn broken_contexts_are_listed_too() {
    let answers = ask_offline(Question::Contexts(ListContextsQuery {}), "").await;
    let Content::Json(json) = content(answers) else {
        panic!("another answer");
    };
    let list: Contexts = serde_json::from_slice(&json).unwrap();
    assert_eq!(list.current_context, "real");
    assert!(list.contexts[0].active && !list.contexts[1].active);
    assert_eq!(list.contexts[0].server, "https://127.0.0.1:1");
    assert_eq!(list.contexts[1].name, "broken");
}

#[tokio::test]
async fn an_offline_check_resolves_the_context_only() {
    let question = || {
        Question::Check(CheckQuery {
            namespace: "demo".to_owned(),
            service: String::new(),
            offline: true,
            selection: None,
        })
    };
    let Content::Check(check) = content(ask_offline(question(), "").await) else {
        panic!("another answer");
    };
    assert_eq!(
        (check.context.as_str(), check.namespace.as_str()),
        ("real", "team")
    );
    let Content::Failure(failure) = content(ask_offline(question(), "rael").await) else {
        panic!("another answer");
    };
    assert_eq!(
        Failure::from(failure.clone()).reason,
        Reason::ContextNotFound
    );
    assert!(failure.hint.contains("real"), "{failure:?}");
}

#[tokio::test]
async fn names_that_would_change_a_path_are_refused_before_any_call() {
    for namespace in ["", "..", "a/../../b", "A", "a?b"] {
        let question = Question::Pods(ListPodsQuery {
            namespace: namespace.to_owned(),
            ..ListPodsQuery::default()
        });
        let Content::Failure(failure) = content(ask_offline(question, "").await) else {
            panic!("another answer");
        };
        assert_eq!(
            Failure::from(failure.clone()).reason,
            Reason::InvalidArgument,
            "{namespace}"
        );
    }
}
