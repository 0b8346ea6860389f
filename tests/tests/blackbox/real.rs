//! The suite against a cluster that is named: all that it asks of `kubectl`, with a simulated cluster behind it.

use std::path::PathBuf;
use std::process::Command;

use kubefwd_tests::Cluster;
use kubefwd_tests::harness::sandbox::{MARK, REAL_KUBECONFIG, run};
use kubefwd_tests::harness::target::REAL_CONTEXT;
use kubefwd_tests::harness::{Answer, Sandbox, programs};

/// Together they use everything that a [`Target`](kubefwd_tests::harness::Target) offers; the last one is to be skipped.
const TESTS: [&str; 5] = [
    "changes::a_deleted_namespace_is_said_and_comes_back",
    "changes::a_namespace_may_come_later",
    "changes::pods_of_a_headless_service_come_and_go_and_keep_their_addresses",
    "changes::services_come_change_and_go",
    "trouble::watches_may_be_cut_and_history_lost",
];

/// A program of ours that is told the simulated cluster as a real one, under a name that says nothing to it.
fn named(cluster: &Cluster, sandbox: &Sandbox, program: PathBuf) -> Command {
    let kubeconfig = sandbox.path("named");
    let admin = cluster.kubeconfig("admin").unwrap();
    admin.context("some/where").write(&kubeconfig).unwrap();
    let mut command = Command::new(program);
    command
        .env_remove(MARK)
        .env(REAL_KUBECONFIG, kubeconfig)
        .env(REAL_CONTEXT, "some/where");
    command
}

#[test]
fn a_named_cluster_is_used_through_kubectl() {
    run(async |sandbox| {
        let cluster = Cluster::builder().start().await.unwrap();
        let output = named(&cluster, &sandbox, std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .args(TESTS)
            .output()
            .unwrap();
        let suite = Answer::new("the suite on a named cluster".to_owned(), &output);
        assert!(
            suite
                .err
                .contains(&format!("skipped: {}: it needs", TESTS[4])),
            "{suite}"
        );
        assert_eq!(suite.err.matches("skipped: ").count(), 1, "{suite}");
        let said = suite.ok();
        assert!(said.contains("5 passed"), "{said}");
        let requests = cluster.counts().requests;
        for asked in [
            "POST namespaces",
            "PATCH services",
            "PATCH deployments",
            "PATCH statefulsets",
            "PATCH statefulsets/scale",
            "DELETE pods",
            "DELETE services",
            "DELETE namespaces",
        ] {
            assert!(requests.contains_key(asked), "no {asked} in {requests:?}");
        }
        // One for each of four tests, one that is made anew, one that comes later.
        assert_eq!(requests["POST namespaces"], 6, "{requests:?}");
    });
}

#[test]
fn the_bench_compares_on_a_named_cluster() {
    run(async |sandbox| {
        let cluster = Cluster::builder().start().await.unwrap();
        let output = named(&cluster, &sandbox, programs::find("bench"))
            .args(["--only", "first-byte,requests,rest", "--rounds=1"])
            .env("KUBEFWD_BENCH_KUBECTL", "kubectl")
            .output()
            .unwrap();
        let bench = Answer::new("the bench on a named cluster".to_owned(), &output);
        let skipped = "Rest needs the simulated cluster: left out";
        assert!(bench.err.contains(skipped), "{bench}");
        let table = bench.ok();
        for measured in ["first byte, p50", "new connection per request"] {
            let row = table.lines().find(|line| line.contains(measured));
            let cells: Vec<&str> = row.expect(&table).split('|').map(str::trim).collect();
            // Direct TCP does not reach its pods; both kubectl and ours do.
            assert_eq!(cells[2], "–", "{table}");
            assert!(
                cells[3..6].iter().all(|value| value.parse::<f64>().is_ok()),
                "{table}"
            );
        }
        let requests = cluster.counts().requests;
        assert_eq!(requests["DELETE namespaces"], 1, "{requests:?}");
    });
}
