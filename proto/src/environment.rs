//! Which of a user's environment variables the user's worker may see, and which of those may be written to disk.
//!
//! Credential plugins need the user's own environment: configuration, profile, proxy, agent. Everything else stays out,
//! above all what changes how a program is loaded (`LD_*`, `DYLD_*`).

use std::collections::BTreeMap;

const NAMES: &[&str] = &[
    "PATH",
    "KUBECONFIG",
    "HOME",
    "LANG",
    "SSH_AUTH_SOCK",
    "KRB5CCNAME",
    "TZ",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];
const PREFIXES: &[&str] = &[
    "XDG_",
    "AWS_",
    "AZURE_",
    "GOOGLE_",
    "CLOUDSDK_",
    "DBUS_",
    "LC_",
];
/// What may be written to disk: names of things and places, never what gives access. A list of those, since no list of
/// secrets is complete.
const PERSISTENT: &[&str] = &[
    "PATH",
    "KUBECONFIG",
    "HOME",
    "LANG",
    "TZ",
    "KRB5CCNAME",
    "NO_PROXY",
    "no_proxy",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_DATA_DIRS",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CA_BUNDLE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AZURE_CONFIG_DIR",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "CLOUDSDK_CONFIG",
    "CLOUDSDK_ACTIVE_CONFIG_NAME",
    "CLOUDSDK_CORE_ACCOUNT",
    "CLOUDSDK_CORE_PROJECT",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
];
/// Of a login, and of no use after it: not kept, and missed by nobody.
const SESSION: &[&str] = &["DBUS_", "SSH_AUTH_SOCK", "XDG_"];
const MAX_VARIABLES: usize = 256;
const MAX_VALUE: usize = 32 * 1024;

/// Whether a worker may see this variable.
fn is_allowed(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether this variable may be kept on disk: its value is not a credential. An address of a proxy is one when it holds
/// a user.
pub fn is_persistent(name: &str, value: &str) -> bool {
    let is_proxy = name.to_ascii_lowercase().ends_with("_proxy");
    PERSISTENT.contains(&name)
        || name.starts_with("LC_")
        || is_proxy && is_allowed(name) && !value.contains('@')
}

/// Whether this variable belongs to a login session, and means nothing after it.
pub fn is_of_session(name: &str) -> bool {
    !PERSISTENT.contains(&name) && SESSION.iter().any(|prefix| name.starts_with(prefix))
}

/// The allowed part of an environment, bounded in count and size.
pub fn filter<I>(variables: I) -> BTreeMap<String, String>
where
    I: IntoIterator<Item = (String, String)>,
{
    variables
        .into_iter()
        .filter(|(name, value)| {
            is_allowed(name)
                && value.len() <= MAX_VALUE
                && !value.contains('\0')
                && !name.contains(['=', '\0'])
        })
        .take(MAX_VARIABLES)
        .collect()
}

/// The allowed part of this process's environment; variables that are not UTF-8 are left out.
pub fn of_this_process() -> BTreeMap<String, String> {
    filter(
        std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_plugins_need_passes_and_loader_variables_do_not() {
        for name in [
            "PATH",
            "KUBECONFIG",
            "AWS_PROFILE",
            "XDG_CACHE_HOME",
            "https_proxy",
            "DBUS_SESSION_BUS_ADDRESS",
        ] {
            assert!(is_allowed(name), "{name}");
        }
        for name in [
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "DYLD_INSERT_LIBRARIES",
            "IFS",
            "BASH_ENV",
            "PYTHONPATH",
            "RUST_LOG",
        ] {
            assert!(!is_allowed(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_not_persistent() {
        for (name, value) in [
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("AWS_SESSION_TOKEN", "x"),
            ("AWS_ACCESS_KEY_ID", "x"),
            ("AZURE_CLIENT_SECRET", "x"),
            ("AZURE_DEVOPS_EXT_PAT", "x"),
            ("AZURE_STORAGE_CONNECTION_STRING", "x"),
            ("HTTPS_PROXY", "http://ann:secret@proxy:3128"),
            ("SSH_AUTH_SOCK", "/tmp/ssh-x/agent.1"),
            ("XDG_RUNTIME_DIR", "/run/user/1000"),
        ] {
            assert!(is_allowed(name) && !is_persistent(name, value), "{name}");
        }
        for (name, value) in [
            ("AWS_PROFILE", "dev"),
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("https_proxy", "http://proxy:3128"),
        ] {
            assert!(is_persistent(name, value), "{name}");
        }
        assert!(is_of_session("DBUS_SESSION_BUS_ADDRESS") && is_of_session("XDG_SESSION_ID"));
        assert!(!is_of_session("XDG_CACHE_HOME") && !is_of_session("AWS_SESSION_TOKEN"));
    }

    #[test]
    fn an_environment_is_bounded() {
        let many = (0..1000).map(|n| (format!("AWS_{n}"), "x".to_owned()));
        assert_eq!(filter(many).len(), MAX_VARIABLES);
        assert!(filter([("AWS_X".to_owned(), "x".repeat(MAX_VALUE + 1))]).is_empty());
    }
}
