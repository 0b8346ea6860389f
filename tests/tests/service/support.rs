//! What the tests begin with.

use kubefwd_tests::Cluster;
use kubefwd_tests::harness::target::content;
use kubefwd_tests::harness::{Options, Sandbox, System, eventually};

/// A cluster with [`content`] in `demo`, and a daemon that is not started.
pub(crate) async fn prepared(sandbox: &Sandbox, options: Options) -> (Cluster, System) {
    let cluster = Cluster::builder().namespace(content("demo")).start().await;
    let cluster = cluster.unwrap();
    let kubeconfig = cluster.kubeconfig("admin").unwrap().yaml();
    let system = System::prepare(sandbox, &kubeconfig, options);
    (cluster, system)
}

/// The same with a daemon that forwards `demo`.
pub(crate) async fn forwarding(sandbox: &Sandbox, options: Options) -> (Cluster, System) {
    let (cluster, mut system) = prepared(sandbox, options).await;
    system.start_daemon();
    add(&system);
    (cluster, system)
}

/// Forwards `demo` and waits for all of it.
pub(crate) fn add(system: &System) {
    let _said = system.ctl(&["ns", "add", "demo", "--wait"]).ok();
}

/// The warnings of `kubefwdctl status`.
pub(crate) fn warnings(system: &System) -> Vec<String> {
    let status = system.try_json(&["status"]).unwrap();
    let warnings = status["warnings"].as_array().cloned().unwrap_or_default();
    warnings
        .iter()
        .filter_map(|warning| Some(warning.as_str()?.to_owned()))
        .collect()
}

/// Waits for a warning with this text in it, and returns it.
pub(crate) fn warning(system: &System, text: &str) -> String {
    eventually(
        &format!("a warning with {text:?}; now {:?}", warnings(system)),
        || warnings(system).into_iter().find(|w| w.contains(text)),
    )
}

/// Waits until there is no warning.
pub(crate) fn no_warning(system: &System) {
    eventually("no warnings are left", || {
        warnings(system).is_empty().then_some(())
    });
}
