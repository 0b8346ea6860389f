//! Credentials, client and questions against the simulated cluster, as the worker of a user meets a real one.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use kubefwd_model::discovery::{EndpointSubset, LogPart, Namespace, Pod, PodDetail, Service};
use kubefwd_model::text::Text;
use kubefwd_model::{Failure, Reason};
use kubefwd_proto::worker::v1::answer::Answer as Content;
use kubefwd_proto::worker::v1::from_worker::Frame;
use kubefwd_proto::worker::v1::query::Question;
use kubefwd_proto::worker::v1::{
    Answer, CheckAnswer, CheckQuery, EndpointsQuery, ListNamespacesQuery, ListPodsQuery,
    ListServicesQuery, PodLogsQuery, Query,
};
use kubefwd_tests::{
    Cluster, Credential, Kubeconfig, RequestEffect, RequestMatch, Rule, demo, write_exec_plugin,
};
use kubefwd_worker::auth::kubeconfig::Environment;
use kubefwd_worker::cluster::{Clusters, classify};
use kubefwd_worker::discovery::answer;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

const VIEWER: &str = "system:serviceaccount:demo:viewer";

/// A user with a kubeconfig, and the questions they ask.
struct Asker {
    folder: TempDir,
    clusters: Arc<Clusters>,
}

impl Asker {
    fn new(kubeconfig: &Kubeconfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        kubeconfig.write(&folder.path().join("config")).unwrap();
        let path = ("PATH".to_owned(), "/usr/bin:/bin".to_owned());
        Self {
            folder,
            clusters: Arc::new(Clusters::new(Environment::from([path]))),
        }
    }

    fn kubeconfig(&self) -> Vec<String> {
        vec![self.folder.path().join("config").display().to_string()]
    }

    fn ask(&self, question: Question) -> impl Stream<Item = Answer> + Unpin + use<> {
        let query = Query {
            id: 1,
            context: String::new(),
            kubeconfig: self.kubeconfig(),
            question: Some(question),
        };
        let (sender, mut receiver) = mpsc::channel(4);
        let clusters = self.clusters.clone();
        let work = tokio::spawn(async move { answer(&clusters, query, sender).await });
        let work = AbortOnDropHandle::new(work);
        let frames = stream::poll_fn(move |cx| {
            // Ends with the stream.
            let _ = &work;
            receiver.poll_recv(cx)
        });
        frames.map(|frame| match frame {
            Frame::Answer(answer) => answer,
            other => panic!("{other:?}"),
        })
    }

    /// All answers; a failure must be the last and is the result.
    async fn all(&self, question: Question) -> Result<Vec<Content>, Failure> {
        let mut answers: Vec<_> = self.ask(question).collect().await;
        let lasts: Vec<bool> = answers.iter().map(|answer| answer.last).collect();
        assert!(
            lasts.ends_with(&[true]) && !lasts[..lasts.len() - 1].contains(&true),
            "{lasts:?}"
        );
        if let Some(Content::Failure(failure)) = &answers[answers.len() - 1].answer {
            return Err(failure.clone().into());
        }
        Ok(answers
            .drain(..)
            .map(|answer| answer.answer.unwrap())
            .collect())
    }

    /// The items of all parts.
    async fn list<T: DeserializeOwned>(&self, question: Question) -> Result<Vec<T>, Failure> {
        let parts = self.all(question).await?;
        Ok(parts.iter().flat_map(part::<Vec<T>>).collect())
    }

    async fn check(&self, namespace: &str, service: &str) -> Result<CheckAnswer, Failure> {
        let question = Question::Check(CheckQuery {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            offline: false,
            selection: None,
        });
        match self.all(question).await?.remove(0) {
            Content::Check(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    async fn services(&self, namespace: &str) -> Result<Vec<Service>, Failure> {
        let question = Question::Services(ListServicesQuery {
            namespace: namespace.to_owned(),
            name: String::new(),
        });
        self.list(question).await
    }

    async fn pods(&self, question: ListPodsQuery) -> Result<Vec<Pod<Text>>, Failure> {
        self.list(Question::Pods(question)).await
    }

    async fn pod(&self, namespace: &str, name: &str) -> Result<PodDetail, Failure> {
        let question = Question::Pods(ListPodsQuery {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..ListPodsQuery::default()
        });
        Ok(self.list(question).await?.remove(0))
    }

    async fn endpoints(
        &self,
        namespace: &str,
        service: &str,
    ) -> Result<Vec<EndpointSubset>, Failure> {
        let question = Question::Endpoints(EndpointsQuery {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
        });
        self.list(question).await
    }
}

fn part<T: DeserializeOwned>(answer: &Content) -> T {
    match answer {
        Content::Json(json) => serde_json::from_slice(json).unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn cluster(services: usize) -> Cluster {
    demo::cluster(services).start().await.unwrap()
}

fn admin(cluster: &Cluster) -> Asker {
    Asker::new(&cluster.kubeconfig("admin").unwrap().namespace("demo"))
}

fn names<'a, N: Deref<Target = str> + 'a>(names: impl IntoIterator<Item = &'a N>) -> Vec<&'a str> {
    names.into_iter().map(|name| &**name).collect()
}

#[tokio::test]
async fn a_namespace_is_checked_with_service_and_rights() {
    let cluster = cluster(0).await;
    let asker = admin(&cluster);
    let answer = asker.check("demo", "api").await.unwrap();
    assert_eq!(
        (answer.context.as_str(), answer.namespace.as_str()),
        ("sim", "demo")
    );
    assert!(answer.missing_rights.is_empty(), "{answer:?}");

    let missing = asker.check("dmeo", "").await.unwrap_err();
    assert_eq!(missing.reason, Reason::NamespaceNotFound);
    assert!(
        missing.message.contains("\"dmeo\"") && missing.hint.contains("\"demo\""),
        "{missing}"
    );
    let missing = asker.check("demo", "grafna").await.unwrap_err();
    assert_eq!(missing.reason, Reason::ServiceNotFound);
    assert!(missing.hint.contains("\"grafana\""), "{missing}");
}

#[tokio::test]
async fn missing_rights_are_named() {
    let cluster = cluster(0).await;
    let viewer = Asker::new(&cluster.kubeconfig(VIEWER).unwrap());
    let answer = viewer.check("demo", "api").await.unwrap();
    assert_eq!(answer.missing_rights, ["create pods/portforward"]);

    cluster.set_rules(VIEWER, [Rule::new(["list", "watch"], ["services", "pods"])]);
    let answer = viewer.check("demo", "api").await.unwrap();
    assert_eq!(answer.missing_rights, ["create pods/portforward"]);

    let nobody = Asker::new(&cluster.kubeconfig("nobody-user").unwrap());
    let answer = nobody.check("demo", "").await.unwrap();
    assert_eq!(answer.missing_rights.len(), 5, "{answer:?}");
    let failure = nobody.services("demo").await.unwrap_err();
    assert_eq!(failure.reason, Reason::ForbiddenByCluster);
    assert_eq!(
        failure.message,
        "permission denied: cannot list services in demo (as nobody-user)"
    );
    let failure = nobody
        .all(Question::Namespaces(ListNamespacesQuery {}))
        .await
        .unwrap_err();
    assert!(
        failure
            .message
            .contains("cannot list namespaces in the whole cluster"),
        "{failure}"
    );
}

#[tokio::test]
async fn services_come_in_pages_and_with_their_ports() {
    let cluster = cluster(1200).await;
    let asker = admin(&cluster);
    assert_eq!(asker.services("many").await.unwrap().len(), 1200);
    let services = asker.services("demo").await.unwrap();
    let find = |name: &str| {
        services
            .iter()
            .find(|service| service.name == name)
            .unwrap()
    };
    assert_eq!(find("ext").kind, "ExternalName");
    assert_eq!(find("store").cluster_ip, "None");
    let port = &find("api").ports[0];
    assert_eq!(
        (port.port, &*port.target_port, &*port.protocol),
        (8080, "http", "TCP")
    );
    assert!(find("legacy").selector.is_empty());

    let namespaces = asker.list::<Namespace>(Question::Namespaces(ListNamespacesQuery {}));
    let namespaces = namespaces.await.unwrap();
    let listed = names(namespaces.iter().map(|namespace| &namespace.name));
    assert!(
        ["demo", "edge", "many"]
            .iter()
            .all(|name| listed.contains(name)),
        "{listed:?}"
    );
}

#[tokio::test]
async fn pods_are_shown_as_kubectl_shows_them() {
    let cluster = cluster(0).await;
    let asker = admin(&cluster);
    let in_namespace = |namespace: &str| ListPodsQuery {
        namespace: namespace.to_owned(),
        ..ListPodsQuery::default()
    };
    let pods = asker.pods(in_namespace("edge")).await.unwrap();
    let said = |name: &str| {
        let pod = pods.iter().find(|pod| pod.name == name).unwrap();
        (pod.status.to_string(), pod.ready.to_string())
    };
    let pair = |status: &str, ready: &str| (status.to_owned(), ready.to_owned());
    assert_eq!(said("crash"), pair("CrashLoopBackOff", "0/1"));
    assert_eq!(said("notready"), pair("Running", "0/1"));
    assert_eq!(said("pending"), pair("Pending", "0/1"));

    let behind = asker
        .pods(ListPodsQuery {
            service: "multi".to_owned(),
            ..in_namespace("demo")
        })
        .await
        .unwrap();
    assert_eq!(
        names(behind.iter().map(|pod| &pod.name)),
        names(&cluster.pods("demo", "web"))
    );
    let none = asker.pods(ListPodsQuery {
        service: "legacy".to_owned(),
        ..in_namespace("demo")
    });
    assert!(none.await.unwrap().is_empty());

    cluster.terminate_pod("demo", "store-0");
    let one = asker.pod("demo", "store-0").await.unwrap();
    assert_eq!(one.pod.status, "Terminating");
    let gone = asker.pod("demo", "no-such").await;
    assert_eq!(gone.unwrap_err().reason, Reason::NotFound);
}

#[tokio::test]
async fn endpoints_come_from_slices_or_from_endpoints() {
    let cluster = cluster(0).await;
    let viewer = Asker::new(&cluster.kubeconfig(VIEWER).unwrap());
    let pods = |subsets: &[EndpointSubset]| {
        let all = subsets.iter().flat_map(|subset| &subset.addresses);
        let pods = all.filter_map(|address| address.pod_name.as_deref());
        let mut pods: Vec<String> = pods.map(str::to_owned).collect();
        pods.sort();
        pods
    };
    let mut wanted = cluster.pods("demo", "api");
    wanted.sort();
    let from_slices = viewer.endpoints("demo", "api").await.unwrap();
    assert_eq!(pods(&from_slices), wanted);
    cluster.deny(Rule::new(["list"], ["endpointslices"]));
    let from_endpoints = viewer.endpoints("demo", "api").await.unwrap();
    assert_eq!(pods(&from_endpoints), wanted);
    cluster.deny(Rule::new(["get"], ["endpoints"]));
    let denied = viewer.endpoints("demo", "api").await.unwrap_err();
    assert!(
        denied.message.contains("cannot list endpointslices"),
        "{denied}"
    );
    cluster.clear_denials();

    let notready = viewer.endpoints("edge", "notready").await.unwrap();
    let address = &notready[0].not_ready_addresses[0];
    assert_eq!(address.pod_name.as_deref(), Some("notready"));
    assert!(viewer.endpoints("edge", "nomatch").await.is_ok());
    let missing = viewer.endpoints("edge", "no-such").await.unwrap_err();
    assert_eq!(missing.reason, Reason::ServiceNotFound);
}

#[tokio::test]
async fn a_followed_log_goes_on_until_nobody_listens() {
    let cluster = cluster(0).await;
    let asker = admin(&cluster);
    let pod = cluster.pods("demo", "web").remove(0);
    let logs = |follow: bool, tail: u32| {
        Question::Logs(PodLogsQuery {
            namespace: "demo".to_owned(),
            pod: pod.clone(),
            follow,
            tail_lines: tail,
            ..PodLogsQuery::default()
        })
    };
    let all = asker.all(logs(false, 1)).await.unwrap();
    let last: LogPart = part(&all[all.len() - 1]);
    assert_eq!(last.logs, ["web listens on :8080"]);
    assert!(!last.container_name.is_empty());

    let mut followed = asker.ask(logs(true, 1));
    let mut lines = Vec::new();
    while lines.len() < 2 {
        let answer = followed.next().await.unwrap();
        assert!(!answer.last);
        let part: LogPart = part(&answer.answer.unwrap());
        if lines.is_empty() {
            assert!(cluster.log("demo", &pod, "while it is followed"));
        }
        lines.extend(part.logs);
    }
    assert_eq!(lines[1], "while it is followed");
}

#[tokio::test]
async fn a_plugin_runs_once_for_all_and_not_for_each_refusal() {
    let cluster = cluster(0).await;
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("plugin");
    let first = cluster.token("admin", None).unwrap();
    let credential = write_exec_plugin(&plugin, &first, None).unwrap();
    let asker = Asker::new(&cluster.kubeconfig_with(credential));
    asker.services("demo").await.unwrap();
    asker.check("demo", "").await.unwrap();
    let runs = || {
        std::fs::read_to_string(folder.path().join("plugin.log"))
            .unwrap()
            .lines()
            .count()
    };
    assert_eq!(runs(), 1);

    // The plugin might have another one. It has not, and is then left alone for a while.
    cluster.revoke_token(&first);
    for _ in 0..3 {
        let failure = asker.services("demo").await.unwrap_err();
        assert_eq!(failure.reason, Reason::CredentialsNeeded, "{failure}");
        assert_eq!(runs(), 2);
    }
}

#[tokio::test]
async fn every_kind_of_credential_is_accepted() {
    let cluster = cluster(0).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let pair = cluster
        .client_certificate("admin", Duration::from_secs(3600))
        .unwrap();
    std::fs::write(path("crt"), &pair.certificate_pem).unwrap();
    std::fs::write(path("key"), &pair.key_pem).unwrap();
    let token = cluster.token("admin", None).unwrap();
    std::fs::write(path("token"), &token).unwrap();
    for credential in [
        Credential::Certificate(pair),
        Credential::CertificateFiles {
            certificate: path("crt"),
            key: path("key"),
        },
        Credential::Token(token.clone()),
        Credential::TokenFile(path("token")),
        write_exec_plugin(&path("plugin"), &token, Some(Duration::from_secs(600))).unwrap(),
    ] {
        let asker = Asker::new(&cluster.kubeconfig_with(credential.clone()));
        asker
            .services("demo")
            .await
            .unwrap_or_else(|failure| panic!("{credential:?}: {failure}"));
    }

    let expired = cluster.client_certificate("admin", Duration::ZERO).unwrap();
    let asker = Asker::new(&cluster.kubeconfig_with(Credential::Certificate(expired)));
    let failure = asker.check("demo", "").await.unwrap_err();
    assert_eq!(failure.reason, Reason::CredentialsNeeded);
    assert!(failure.message.contains("expired at"), "{failure}");
    let asker = Asker::new(&cluster.kubeconfig_with(Credential::Token("rubbish".to_owned())));
    let failure = asker.services("demo").await.unwrap_err();
    assert!(failure.message.contains("refused the token"), "{failure}");
    let asker = Asker::new(&cluster.kubeconfig_with(Credential::Anonymous));
    let failure = asker.services("demo").await.unwrap_err();
    assert_eq!(failure.reason, Reason::ForbiddenByCluster, "{failure}");
}

#[tokio::test]
async fn api_server_trouble_is_explained() {
    let cluster = cluster(0).await;
    let asker = admin(&cluster);
    for (code, reason) in [
        (429, Reason::LimitExceeded),
        (500, Reason::ClusterUnreachable),
        (503, Reason::ClusterUnreachable),
    ] {
        let effect = RequestEffect::Answer(code);
        cluster.fail_requests(RequestMatch::any().resource("services"), effect, Some(1));
        let failure = asker.services("demo").await.unwrap_err();
        assert_eq!(failure.reason, reason, "{code}: {failure}");
    }
    let known = asker.clusters.get("", &asker.kubeconfig()).await.unwrap();
    cluster.stop_api_server().await;
    let error = known.client.apiserver_version().await.unwrap_err();
    let failure = classify(&error);
    assert_eq!(failure.reason, Reason::ClusterUnreachable, "{failure}");
}
