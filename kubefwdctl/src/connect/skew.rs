//! What to tell the user when the two programs speak different levels of the protocol.

use std::cmp::Ordering;

use kubefwd_model::{Finding, Severity};

use crate::service_manager::Manager;

/// Compares the levels.
pub(super) fn between(daemon: u32, client: u32, daemon_version: &str) -> Option<Finding> {
    let client_version = env!("CARGO_PKG_VERSION");
    let (message, hint) = match daemon.cmp(&client) {
        Ordering::Equal => return None,
        Ordering::Less => (
            format!(
                "kubefwdd {daemon_version} (API level {daemon}) is older than kubefwdctl \
                 {client_version} (API level {client})"
            ),
            Manager::of_this_machine().restart_command(),
        ),
        Ordering::Greater => (
            format!(
                "kubefwdctl {client_version} (API level {client}) is older than kubefwdd \
                 {daemon_version} (API level {daemon})"
            ),
            "use the kubefwdctl that was installed with the daemon: type -a kubefwdctl",
        ),
    };
    Some(Finding::new(Severity::Warning, "version", message).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_names_the_older_side() {
        assert_eq!(between(3, 3, "1.0.0"), None);
        let older_daemon = between(2, 3, "0.9.0").expect("levels differ");
        assert!(
            older_daemon
                .message
                .starts_with("kubefwdd 0.9.0 (API level 2) is older")
        );
        let older_client = between(4, 3, "2.0.0").expect("levels differ");
        assert!(older_client.message.starts_with("kubefwdctl"));
    }
}
