//! What the tests begin with.

pub(crate) use kubefwd_tests::harness::target::{content, http};
use kubefwd_tests::harness::{Options, Sandbox, System, eventually, net};
use kubefwd_tests::{Cluster, Namespace};

/// A cluster with [`content`] in `demo`, and a daemon that forwards nothing yet.
pub(crate) async fn demo(sandbox: &Sandbox) -> (Cluster, System) {
    configured(sandbox, content("demo"), Options::default()).await
}

/// The same with another namespace and another configuration.
pub(crate) async fn configured(
    sandbox: &Sandbox,
    namespace: Namespace,
    options: Options,
) -> (Cluster, System) {
    let cluster = Cluster::builder().namespace(namespace).start().await;
    let cluster = cluster.unwrap();
    let kubeconfig = cluster.kubeconfig("admin").unwrap().yaml();
    let system = System::start_with(sandbox, &kubeconfig, options);
    (cluster, system)
}

/// A configuration file's text.
pub(crate) fn config(text: &str) -> Options {
    Options {
        config: text.to_owned(),
        ..Options::default()
    }
}

/// Forwards `demo` and waits for all of it.
pub(crate) fn add(system: &System) {
    let _said = system.ctl(&["ns", "add", "demo", "--wait"]).ok();
}

/// The keys of `svc ls`, in its order.
pub(crate) fn listed(system: &System) -> Vec<String> {
    let all = system.ctl(&["svc", "ls", "-o", "name"]).ok();
    all.lines().map(str::to_owned).collect()
}

/// Waits until a name resolves no longer.
pub(crate) fn name_gone(name: &str) {
    eventually(&format!("{name} goes away"), || {
        net::resolve(name).is_empty().then_some(())
    });
}

/// Waits until HTTP answers at a name and port; connections may fail until then.
pub(crate) fn answers(name: &str, port: u16) {
    eventually(&format!("{name}:{port} answers"), || {
        net::try_get(name, port, "/").ok()
    });
}
