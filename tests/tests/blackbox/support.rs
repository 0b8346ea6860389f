//! What the tests begin with.
//!
//! A test that any cluster will do for starts with [`ready`] or [`forwarded`]; one that causes faults or looks into the
//! cluster starts with [`demo`] or [`configured`], which give the simulated cluster itself.

pub(crate) use kubefwd_tests::harness::target::{content, http};
use kubefwd_tests::harness::{Options, Sandbox, System, Target, eventually, net};
use kubefwd_tests::{Cluster, Namespace};

/// Any cluster with [`content`], and a daemon that forwards nothing yet.
pub(crate) async fn ready(sandbox: &Sandbox) -> (Target, System) {
    ready_with(sandbox, content("demo"), Options::default()).await
}

/// The same with another namespace and another configuration.
pub(crate) async fn ready_with(
    sandbox: &Sandbox,
    namespace: Namespace,
    options: Options,
) -> (Target, System) {
    let target = Target::start(sandbox, namespace).await;
    let system = System::start_with(sandbox, &target.kubeconfig(), options);
    (target, system)
}

/// Any cluster with [`content`], and a daemon that forwards all of it.
pub(crate) async fn forwarded(sandbox: &Sandbox) -> (Target, System) {
    let (target, system) = ready(sandbox).await;
    forward(&target, &system);
    (target, system)
}

/// Forwards the target's namespace and waits for all of it.
pub(crate) fn forward(target: &Target, system: &System) {
    let _said = system
        .ctl(&["ns", "add", target.namespace(), "--wait"])
        .ok();
}

/// A simulated cluster with [`content`] in `demo`, and a daemon that forwards nothing yet.
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

/// Waits until something is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    eventually(what, || so().then_some(()));
}

/// Waits until a name resolves no longer.
pub(crate) fn name_gone(name: &str) {
    until(&format!("{name} goes away"), || {
        net::resolve(name).is_empty()
    });
}

/// Waits until HTTP answers at a name and port; connections may fail until then.
pub(crate) fn answers(name: &str, port: u16) {
    until(&format!("{name}:{port} answers"), || {
        net::try_get(name, port, "/").is_ok()
    });
}
