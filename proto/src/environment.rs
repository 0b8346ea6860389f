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
/// Parts of a name that mark its value as a secret.
const SECRET: &[&str] = &[
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "CREDENTIAL",
    "KEY",
    "PROXY",
    "proxy",
];
const MAX_VARIABLES: usize = 256;
const MAX_VALUE: usize = 32 * 1024;

/// Whether a worker may see this variable.
fn is_allowed(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether this variable may be kept on disk: its value is not a credential. Proxy addresses often hold a password.
pub fn is_persistent(name: &str) -> bool {
    is_allowed(name) && !SECRET.iter().any(|part| name.contains(part))
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
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AZURE_CLIENT_SECRET",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "HTTPS_PROXY",
            "AWS_ACCESS_KEY_ID",
        ] {
            assert!(is_allowed(name) && !is_persistent(name), "{name}");
        }
        assert!(is_persistent("AWS_PROFILE") && is_persistent("PATH"));
    }

    #[test]
    fn an_environment_is_bounded() {
        let many = (0..1000).map(|n| (format!("AWS_{n}"), "x".to_owned()));
        assert_eq!(filter(many).len(), MAX_VARIABLES);
        assert!(filter([("AWS_X".to_owned(), "x".repeat(MAX_VALUE + 1))]).is_empty());
    }
}
