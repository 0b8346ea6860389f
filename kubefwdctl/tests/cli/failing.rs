//! Every way in which the daemon cannot be reached, or refuses.

use std::os::unix::net::UnixListener;

use kubefwd_model::{Failure, Reason};
use kubefwd_proto::convert::failure::to_status;
use tokio::io::AsyncWriteExt as _;
use tonic::Status;

use crate::fake::{Fake, Script};
use crate::program::{command, finish, run};

#[tokio::test]
async fn nobody_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    insta::assert_snapshot!("unreachable-missing", run(&socket, "svc ls").await.text());
}

#[tokio::test]
async fn the_socket_was_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    drop(UnixListener::bind(&socket).unwrap());
    insta::assert_snapshot!("unreachable-stale", run(&socket, "svc ls").await.text());
}

#[tokio::test]
async fn the_path_is_no_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    std::fs::write(&socket, "").unwrap();
    insta::assert_snapshot!("unreachable-file", run(&socket, "svc ls").await.text());
}

#[tokio::test]
async fn somebody_else_listens() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The client may hang up first.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let outcome = run(&socket, "svc ls").await;
    assert_eq!(outcome.code, Some(5));
    let expected = "error: SOCKET is not a kubefwd daemon socket\n  cause: ";
    assert!(outcome.stderr.starts_with(expected), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("\n  hint: check --socket"),
        "{}",
        outcome.stderr
    );
}

#[tokio::test]
async fn the_daemon_refuses() {
    let cases = [
        (
            "refused-denied",
            "svc ls",
            Failure::new(
                Reason::PermissionDenied,
                "alice is neither root nor a member of group kubefwd",
            )
            .hint("sudo usermod -aG kubefwd alice"),
        ),
        (
            "refused-context",
            "ns add demo --context rael",
            Failure::new(
                Reason::ContextNotFound,
                "no context \"rael\" in /home/alice/.kube/config; it has: real, stage",
            ),
        ),
        (
            "refused-ambiguous",
            "ns rm demo",
            Failure::new(Reason::Conflict, "demo is ambiguous: demo.real, demo.stage")
                .hint("kubefwdctl ns rm demo.real"),
        ),
        (
            "refused-unknown-key",
            "svc rm nothing",
            Failure::new(
                Reason::NotFound,
                "nothing of the name \"nothing\" is forwarded",
            ),
        ),
        (
            "refused-cluster",
            "svc add demo/db",
            Failure::new(
                Reason::ClusterUnreachable,
                "https://10.0.0.1:6443 does not answer:\nconnection refused\x1b[31m",
            ),
        ),
        (
            "refused-address",
            "reserve add db.demo.real 10.0.0.1",
            Failure::new(Reason::InvalidArgument, "10.0.0.1 is not in 127.0.0.0/8"),
        ),
        (
            "refused-attach",
            "ns add demo staging --attach",
            Failure::new(
                Reason::CredentialsNeeded,
                "the plugin aws-iam-authenticator is missing",
            ),
        ),
    ];
    for (name, line, failure) in cases {
        let fake = Fake::start(Script {
            refusal: Some(to_status(failure)),
            ..Script::default()
        });
        insta::assert_snapshot!(name, run(&fake.socket(), line).await.text());
    }
}

#[tokio::test]
async fn an_older_daemon_is_called_so() {
    let fake = Fake::start(Script {
        refusal: Some(Status::unimplemented("")),
        ..Script::default()
    });
    insta::assert_snapshot!("older-daemon", run(&fake.socket(), "svc ls").await.text());
}

#[tokio::test]
async fn skew_is_said_once_and_only_with_changes() {
    let fake = Fake::start(Script {
        api_level: u32::MAX,
        ..Script::default()
    });
    let asking = run(&fake.socket(), "svc ls").await;
    assert_eq!((asking.code, asking.stderr.as_str()), (Some(0), ""));
    let changing = run(&fake.socket(), "ns add a b").await;
    assert_eq!(changing.code, Some(0));
    assert_eq!(
        changing.stderr.matches("warning:").count(),
        1,
        "{}",
        changing.stderr
    );
    let quiet = run(&fake.socket(), "-q ns add a").await;
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[tokio::test]
async fn errors_are_coloured_only_where_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    assert!(!run(&socket, "svc ls").await.stderr.contains('\x1b'));
    assert!(
        run(&socket, "svc ls --color always")
            .await
            .stderr
            .contains("\x1b[1;31merror:\x1b[0m")
    );
    let mut forced = command(&socket, "svc ls");
    forced.env("CLICOLOR_FORCE", "1");
    assert!(finish(&socket, forced).await.stderr.contains('\x1b'));
}
