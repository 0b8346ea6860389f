//! The help of every command, word for word: it is the manual.

use std::path::Path;

use crate::program::run;

const COMMANDS: &[&str] = &[
    "",
    "ns",
    "ns add",
    "ns rm",
    "ns ls",
    "svc",
    "svc add",
    "svc rm",
    "svc capture",
    "svc ls",
    "fwd",
    "fwd ls",
    "fwd reconnect",
    "reserve",
    "reserve add",
    "reserve rm",
    "reserve ls",
    "context",
    "context ls",
    "status",
    "events",
    "hosts",
    "doctor",
    "version",
    "completions",
];

#[tokio::test]
async fn the_help_of_every_command() {
    for command in COMMANDS {
        let outcome = run(Path::new("/nowhere/socket"), &format!("{command} --help")).await;
        assert_eq!(outcome.code, Some(0), "{command}");
        let name = match *command {
            "" => "help".to_owned(),
            command => format!("help {command}"),
        };
        insta::assert_snapshot!(name.replace(' ', "-"), outcome.stdout);
    }
}

#[tokio::test]
async fn wrong_usage_is_explained() {
    for (name, line) in [
        ("usage-nothing-to-add", "ns add"),
        ("usage-unknown-command", "forword ls"),
        ("usage-port-map", "ns add demo --port-map 80"),
        ("usage-service", "svc add db"),
        ("usage-wait", "ns add demo --wait=soon"),
        (
            "usage-no-such-user",
            "ns rm --all --user nobody-of-that-name",
        ),
        (
            "usage-local-ip",
            "svc add demo/a demo/b --local-ip 127.9.9.9",
        ),
    ] {
        let outcome = run(Path::new("/nowhere/socket"), line).await;
        assert_eq!(outcome.code, Some(2), "{line}");
        insta::assert_snapshot!(name, outcome.text());
    }
}

#[tokio::test]
async fn completions_need_no_daemon() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let outcome = run(
            Path::new("/nowhere/socket"),
            &format!("completions {shell}"),
        )
        .await;
        assert_eq!(outcome.code, Some(0), "{shell}");
        assert!(outcome.stdout.contains("reconnect"), "{shell}");
    }
}
