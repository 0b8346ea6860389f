//! What the daemon is told while the cluster changes, refuses, disappears and comes back.

use kubefwd_model::Reason;
use kubefwd_proto::common::v1::Selection;
use kubefwd_proto::worker::v1::NamespacePhase;
use kubefwd_tests::{Behaviour, Cluster, Namespace, Rule, Service, ServicePort, Workload, demo};

use super::daemon::Daemon;
use super::forwarding::echo;

fn service(name: &str) -> Service {
    Service::new(name).port(ServicePort::tcp(80))
}

async fn failed(daemon: &mut Daemon, namespace: &str) -> kubefwd_model::Failure {
    daemon
        .until(|known| {
            let report = known.namespaces.get(namespace)?;
            (report.phase() == NamespacePhase::Failed)
                .then(|| report.failure.clone().unwrap().into())
        })
        .await
}

#[tokio::test]
async fn services_are_reported_with_what_cannot_be_forwarded() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    daemon.want("demo").await;
    daemon.watching("demo").await;
    let known = &daemon.known;
    for (service, wanted) in [
        ("ext", "ExternalName"),
        ("legacy", "no selector"),
        ("api", ""),
    ] {
        let unsupported = &known.service("demo", service).unwrap().unsupported;
        assert!(unsupported.contains(wanted), "{service}: {unsupported}");
        assert_eq!(unsupported.is_empty(), wanted.is_empty(), "{service}");
    }
    let api = known.service("demo", "api").unwrap();
    assert_eq!((api.ready_pods, api.total_pods, api.ports.len()), (2, 2, 2));
    assert!(api.selected);
}

#[tokio::test]
async fn changes_are_followed_through_cut_ended_and_forgotten_watches() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    daemon.want("demo").await;
    daemon.watching("demo").await;
    for round in 0..4 {
        let (new, gone) = (format!("new-{round}"), format!("gone-{round}"));
        cluster.put_service("demo", service(&gone));
        daemon
            .until(|known| known.service("demo", &gone).map(|_| ()))
            .await;
        match round {
            0 => {}
            1 => cluster.cut_watches(),
            2 => cluster.end_watches(),
            _ => {
                cluster.compact();
                cluster.cut_watches();
            }
        }
        cluster.put_service("demo", service(&new));
        assert!(cluster.delete_service("demo", &gone));
        daemon
            .until(|known| {
                let told = known.service("demo", &new).is_some();
                (told && known.service("demo", &gone).is_none()).then_some(())
            })
            .await;
    }
    assert_eq!(daemon.known.phase("demo"), Some(NamespacePhase::Watching));
    assert_eq!(
        daemon.known.listed["demo"], 1,
        "only changes are told after the first list"
    );
}

#[tokio::test]
async fn a_missing_namespace_is_watched_once_it_is_created() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    daemon.want("later").await;
    let failure = failed(&mut daemon, "later").await;
    assert_eq!(failure.reason, Reason::NamespaceNotFound);
    cluster.create_namespace("later");
    daemon.watching("later").await;
    cluster.put_service("later", service("web"));
    daemon
        .until(|known| known.service("later", "web").map(|_| ()))
        .await;
    cluster.delete_namespace("later");
    let failure = failed(&mut daemon, "later").await;
    assert_eq!(failure.reason, Reason::NamespaceNotFound);
    assert!(daemon.known.names("later").is_empty());
}

#[tokio::test]
async fn what_is_forbidden_is_named_and_tried_again() {
    let cluster = demo::cluster(0).start().await.unwrap();
    cluster.deny(Rule::new(["list"], ["services"]));
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    daemon.want("demo").await;
    let failure = failed(&mut daemon, "demo").await;
    assert_eq!(failure.reason, Reason::ForbiddenByCluster);
    assert_eq!(
        failure.message,
        "permission denied: cannot list services in demo"
    );
    cluster.clear_denials();
    daemon.watching("demo").await;
}

#[tokio::test]
async fn without_slices_pods_are_found_by_selector() {
    let cluster = demo::cluster(0).start().await.unwrap();
    cluster.deny(Rule::new(["list", "watch"], ["endpointslices"]));
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    daemon.want("demo").await;
    daemon.watching("demo").await;
    let note = &daemon.known.namespaces["demo"].notes[0];
    assert!(
        note.contains("cannot list endpointslices in demo"),
        "{note}"
    );
    let store = daemon.known.service("demo", "store").unwrap();
    assert_eq!(store.pods, ["store-0", "store-1", "store-2"]);
    let db = daemon.grant("demo", "db", "", 5432).await;
    echo(db.address, b"by selector").await;
    let report = daemon
        .until(|known| known.forwards.get(&db.id).cloned())
        .await;
    assert_eq!(report.container, "db");
    let web = daemon.grant("demo", "web", "", 80).await;
    let named = daemon
        .until(|known| known.forwards.get(&web.id).cloned())
        .await;
    assert_eq!(named.pod_port, 8080);
}

#[tokio::test]
async fn an_api_server_outage_loses_nothing() {
    let cluster = demo::cluster(0).start().await.unwrap();
    cluster.stop_api_server().await;
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    daemon.want("demo").await;
    let failure = failed(&mut daemon, "demo").await;
    assert_eq!(failure.reason, Reason::ClusterUnreachable);
    cluster.start_api_server().await.unwrap();
    daemon.watching("demo").await;
    let services = daemon.known.names("demo").len();
    let db = daemon.grant("demo", "db", "", 5432).await;
    echo(db.address, b"before").await;

    cluster.stop_api_server().await;
    failed(&mut daemon, "demo").await;
    assert_eq!(daemon.known.names("demo").len(), services);
    cluster.start_api_server().await.unwrap();
    daemon.watching("demo").await;
    echo(db.address, b"after").await;
}

#[tokio::test]
async fn selections_and_names_are_applied_and_changed() {
    let cluster = Cluster::builder()
        .namespace(
            Namespace::new("demo")
                .workload(Workload::deployment("a").listen("x", 80, Behaviour::Echo))
                .service(service("api-1").label("tier", "front"))
                .service(service("api-2"))
                .service(service("web").label("tier", "front"))
                .service(service("db")),
        )
        .start()
        .await
        .unwrap();
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    let by_label = Selection {
        label_selector: "tier=front".to_owned(),
        exclude: vec!["web*".to_owned()],
        ..Selection::default()
    };
    for (selection, names, wanted) in [
        (
            Some(by_label),
            &["db", "web"][..],
            &["api-1", "db", "web"][..],
        ),
        (None, &["db"][..], &["db"][..]),
        (
            Some(Selection::default()),
            &[][..],
            &["api-1", "api-2", "db", "web"][..],
        ),
    ] {
        daemon.want_some("demo", selection, names).await;
        daemon
            .until(|known| (known.names("demo") == wanted).then_some(()))
            .await;
    }
    daemon.unwant("demo").await;
    daemon.want("other").await;
    assert_eq!(
        failed(&mut daemon, "other").await.reason,
        Reason::NamespaceNotFound
    );
}

#[tokio::test]
async fn a_repaired_kubeconfig_is_read_again() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let kubeconfig = cluster.kubeconfig("admin").unwrap();
    let mut daemon = Daemon::start(&kubeconfig).await;
    let path = daemon.kubeconfig().remove(0);
    std::fs::write(&path, "clusters: [").unwrap();
    daemon.want("demo").await;
    let failure = failed(&mut daemon, "demo").await;
    assert_eq!(failure.reason, Reason::KubeconfigInvalid);
    let mended = kubeconfig.context(super::daemon::CONTEXT);
    mended.write(path.as_ref()).unwrap();
    daemon.watching("demo").await;
}
