//! What to tell the user when the two programs speak different levels of the protocol.

use crate::service_manager::Manager;

/// The daemon and this client speak different levels of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skew {
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl Skew {
    /// Compares the levels.
    pub(super) fn between(daemon: u32, client: u32, daemon_version: &str) -> Option<Self> {
        let client_version = env!("CARGO_PKG_VERSION");
        match daemon.cmp(&client) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Less => Some(Self {
                message: format!(
                    "kubefwdd {daemon_version} (API level {daemon}) is older than kubefwdctl \
                     {client_version} (API level {client})"
                ),
                hint: Manager::of_this_machine().restart_command().to_owned(),
            }),
            std::cmp::Ordering::Greater => Some(Self {
                message: format!(
                    "kubefwdctl {client_version} (API level {client}) is older than kubefwdd \
                     {daemon_version} (API level {daemon})"
                ),
                hint: "use the kubefwdctl that was installed with the daemon: type -a kubefwdctl"
                    .to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_names_the_older_side() {
        assert_eq!(Skew::between(3, 3, "1.0.0"), None);
        let older_daemon = Skew::between(2, 3, "0.9.0").expect("levels differ");
        assert!(
            older_daemon
                .message
                .starts_with("kubefwdd 0.9.0 (API level 2) is older")
        );
        let older_client = Skew::between(4, 3, "2.0.0").expect("levels differ");
        assert!(older_client.message.starts_with("kubefwdctl"));
    }
}
