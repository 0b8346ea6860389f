//! Several namespaces, contexts and kubeconfigs at once: whose the short names are.

use kubefwd_tests::harness::System;
use kubefwd_tests::harness::net::{get, resolve};
use kubefwd_tests::harness::sandbox::{run, run_anywhere};
use kubefwd_tests::{Cluster, Namespace};

use crate::support::{content, name_gone, ready, until};

#[test]
fn a_list_of_kubeconfigs_gives_the_contexts_of_all() {
    run(async |sandbox| {
        let (one, other) = (cluster(["demo"]).await, cluster(["demo"]).await);
        let second = sandbox.path("second");
        let admin = other.kubeconfig("admin").unwrap().context("Other_1");
        admin.write(&second).unwrap();
        let system = System::start(&sandbox, &one.kubeconfig("admin").unwrap());
        let mut list = sandbox.path("kubeconfig").into_os_string();
        list.push(":");
        list.push(&second);
        let ctl = |args: &[&str]| system.ctl_with(list.as_ref(), args);

        let contexts = ctl(&["context", "ls", "-o", "name"]).ok();
        assert_eq!(contexts.lines().collect::<Vec<_>>(), ["sim", "Other_1"]);
        let _said = ctl(&["ns", "add", "demo", "--wait"]).ok();
        let _said = ctl(&["ns", "add", "demo", "--context", "Other_1", "--wait"]).ok();
        // Who came first has the short names; a context is made one label of a name.
        assert_eq!(resolve("web"), resolve("web.demo.sim"));
        assert_eq!(resolve("web.demo"), resolve("web.demo.sim"));
        assert_ne!(resolve("web"), resolve("web.demo.other-1"));
        assert!(get("web.demo.other-1", 80).contains("pod: web-"));
        let before = other.counts().dials;
        let _body = get("web.demo.other-1", 80);
        assert!(other.counts().dials > before, "the other cluster answers");
    });
}

#[test]
fn a_short_name_passes_to_the_next_claimant() {
    run_anywhere(async |sandbox| {
        let (one, system) = ready(&sandbox).await;
        let two = one.beside("two");
        two.create(content("two"));
        let (first, second) = (one.namespace(), two.namespace());
        let _said = system.ctl(&["ns", "add", first, second, "--wait"]).ok();
        let says = |name: &str, namespace: &str| {
            let line = format!("namespace: {namespace}");
            get(name, 80).lines().any(|found| found == line)
        };
        assert!(says("web", first));
        assert!(says(&two.host("web"), second));
        let _said = system.ctl(&["ns", "rm", first]).ok();
        name_gone(&one.host("web"));
        until("web leads to the namespace that is left", || {
            resolve("web") == resolve(&two.host("web"))
        });
        assert!(says("web", second));
    });
}

#[test]
fn all_can_be_removed_at_once() {
    run_anywhere(async |sandbox| {
        let before = std::fs::read("/etc/hosts").unwrap();
        let (one, system) = ready(&sandbox).await;
        let two = one.beside("two");
        two.create(content("two"));
        let (first, second) = (one.namespace(), two.namespace());
        let _said = system.ctl(&["ns", "add", first, second, "--wait"]).ok();
        let _said = system.ctl(&["ns", "rm", "--all"]).ok();
        until("the hosts file is as before", || system.hosts() == before);
        assert_eq!(system.ctl(&["ns", "ls", "-o", "name"]).ok(), "");
    });
}

#[test]
fn a_context_of_the_same_name_from_elsewhere_is_refused() {
    run(async |sandbox| {
        let (one, other) = (cluster(["demo"]).await, cluster(["demo", "more"]).await);
        let system = System::start(&sandbox, &one.kubeconfig("admin").unwrap());
        let _said = system.ctl(&["ns", "add", "demo", "--wait"]).ok();
        let second = sandbox.path("second");
        other.kubeconfig("admin").unwrap().write(&second).unwrap();
        let second = second.display().to_string();
        system
            .ctl(&["ns", "add", "more", "--kubeconfig", &second])
            .refuses(1, &["\"sim\" is in use from another kubeconfig"]);
        // Whichever way the other file is named.
        system
            .ctl_with(second.as_ref(), &["ns", "add", "more"])
            .refuses(1, &["\"sim\" is in use from another kubeconfig"]);
        // Nothing moved, and a list that has the first file in it too means the same as before.
        assert!(get("web", 80).contains("pod: web-"));
        let mut list = sandbox.path("kubeconfig").into_os_string();
        list.push(":");
        list.push(&second);
        let add = ["svc", "add", "demo/echo", "--wait"];
        let _said = system.ctl_with(list.as_ref(), &add).ok();
    });
}

async fn cluster<const N: usize>(namespaces: [&str; N]) -> Cluster {
    let builder = Cluster::builder();
    let all = namespaces.map(content).into_iter();
    let builder = all.fold(builder, |builder, namespace: Namespace| {
        builder.namespace(namespace)
    });
    builder.start().await.unwrap()
}
