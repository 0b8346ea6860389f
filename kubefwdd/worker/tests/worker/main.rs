//! The real worker between a scripted daemon and the simulated cluster.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

mod daemon;
mod following;
mod forwarding;
mod proxies;
#[cfg(target_os = "linux")]
mod scale;

use std::process::Command;

use kubefwd_model::discovery::Contexts;
use kubefwd_proto::worker::v1::query::Question;
use kubefwd_proto::worker::v1::to_worker::Frame as Order;
use kubefwd_proto::worker::v1::{ListContextsQuery, Query, Shutdown, answer};
use kubefwd_tests::demo;
use kubefwd_tests::harness::system;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use daemon::Daemon;

#[test]
fn it_refuses_to_be_started_by_hand() {
    let output = Command::new(env!("CARGO_BIN_EXE_kubefwd-worker"))
        .args(["--channel-fd", "3", "--allow-root"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("kubefwdd starts this program"), "{text}");
}

#[tokio::test]
async fn it_stops_when_told_to_and_when_the_daemon_is_gone() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let kubeconfig = cluster.kubeconfig("admin").unwrap();
    let mut daemon = Daemon::start(&kubeconfig).await;
    daemon.order(Order::Shutdown(Shutdown {})).await;
    daemon.ended().await;
    assert!(daemon.abandon().wait().unwrap().success());

    let daemon = Daemon::start(&kubeconfig).await;
    let mut worker = daemon.abandon();
    let ended = tokio::task::spawn_blocking(move || worker.wait().unwrap());
    assert!(ended.await.unwrap().success());
}

#[tokio::test]
async fn the_last_reports_are_sent_however_it_is_stopped() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let kubeconfig = cluster.kubeconfig("admin").unwrap();
    for by_signal in [false, true] {
        let mut daemon = Daemon::start(&kubeconfig).await;
        daemon.want("demo").await;
        daemon.watching("demo").await;
        let grafana = daemon.grant("demo", "grafana", "", 3000).await;
        let mut client = TcpStream::connect(grafana.address).await.unwrap();
        let request = b"GET /last HTTP/1.1\r\nHost: grafana\r\nConnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        // At once: neither the requests of a moment nor the counters of a second are due.
        match by_signal {
            false => daemon.order(Order::Shutdown(Shutdown {})).await,
            true => system::signal(daemon.worker.as_ref().unwrap().id(), Signal::SIGTERM),
        }
        daemon.ended().await;
        let requests = &daemon.known.requests;
        let seen: Vec<_> = requests
            .iter()
            .map(|one| (one.path.as_str(), one.status))
            .collect();
        assert_eq!(seen, [("/last", 200)]);
        let traffic = daemon.known.traffic[&grafana.id];
        let moved = (traffic.bytes_out as usize, traffic.bytes_in as usize);
        assert_eq!(moved, (request.len(), answer.len()));
        assert!(daemon.abandon().wait().unwrap().success());
    }
}

#[tokio::test]
async fn it_answers_questions() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    let query = Query {
        id: 7,
        context: String::new(),
        kubeconfig: daemon.kubeconfig(),
        question: Some(Question::Contexts(ListContextsQuery {})),
    };
    daemon.order(Order::Query(query)).await;
    let answer = daemon.until(|known| known.answers.first().cloned()).await;
    assert!(answer.id == 7 && answer.last);
    let Some(answer::Answer::Json(json)) = answer.answer else {
        panic!("{answer:?}");
    };
    let contexts: Contexts = serde_json::from_slice(&json).unwrap();
    assert_eq!(contexts.contexts[0].name, daemon::CONTEXT);
}
