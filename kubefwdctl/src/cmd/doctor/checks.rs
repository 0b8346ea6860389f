//! What can be checked on this side: versions, group membership, kubeconfig.

use std::path::{Path, PathBuf};

use kubefwd_model::{Finding, Severity};
use kubefwd_os::groups;
use nix::unistd::{Gid, Uid, User};

use super::finding::ok;
use crate::connect::Daemon;
use crate::service_manager::Manager;

/// Members of this group may use the daemon.
const GROUP: &str = "kubefwd";

/// Whether the two programs speak the same protocol.
pub(super) fn version(daemon: &Daemon) -> Finding {
    let same = || ok("version", "client and daemon speak the same protocol");
    daemon.skew().unwrap_or_else(same)
}

/// As the daemon finds it for each request: the user database counts, not the groups of this session.
pub(super) fn membership() -> Finding {
    let uid = Uid::effective();
    if uid.is_root() {
        return ok("permission", "root may use the daemon");
    }
    let user = User::from_uid(uid).ok().flatten();
    let name = user
        .as_ref()
        .map_or_else(|| uid.to_string(), |user| user.name.clone());
    let primary = user.map_or_else(Gid::effective, |user| user.gid);
    match groups::is_member(&name, primary, GROUP) {
        Ok(Some(true)) => ok("permission", format!("{name} is a member of group {GROUP}")),
        Ok(Some(false)) => Finding::new(
            Severity::Error,
            "permission",
            format!("{name} is not a member of group {GROUP}, so the daemon refuses most requests"),
        )
        .hint(Manager::of_this_machine().join_group_command(&name)),
        Ok(None) => Finding::new(
            Severity::Error,
            "permission",
            format!("group {GROUP} does not exist, so only root may use the daemon"),
        )
        .hint(match Manager::of_this_machine() {
            Manager::Launchd => format!("sudo dseditgroup -o create {GROUP}"),
            Manager::Systemd | Manager::None => format!("sudo groupadd --system {GROUP}"),
        }),
        Err(error) => Finding::new(
            Severity::Warning,
            "permission",
            format!("cannot look up group {GROUP}: {error}"),
        )
        .hint(format!("getent group {GROUP}")),
    }
}

/// Whether there is a kubeconfig.
pub(super) fn kubeconfig() -> Finding {
    let variable = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty());
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let (source, files): (&str, Vec<PathBuf>) = match (variable, home) {
        (Some(list), _) => ("KUBECONFIG", std::env::split_paths(&list).collect()),
        (None, Some(home)) => ("the default", vec![home.join(".kube/config")]),
        (None, None) => ("HOME (not set)", Vec::new()),
    };
    judge_kubeconfig(source, &files, Path::is_file)
}

fn judge_kubeconfig(source: &str, files: &[PathBuf], exists: impl Fn(&Path) -> bool) -> Finding {
    let named = files.iter().filter(|file| !file.as_os_str().is_empty());
    let (present, absent): (Vec<_>, Vec<_>) = named.partition(|file| exists(file));
    let names = |files: Vec<&PathBuf>| {
        let names = files.iter().map(|file| file.display().to_string());
        names.collect::<Vec<_>>().join(", ")
    };
    let (present, absent) = (names(present), names(absent));
    match (present.as_str(), absent.as_str()) {
        ("", absent) => Finding::new(
            Severity::Warning,
            "kubeconfig",
            format!("no kubeconfig: {source} names no existing file ({absent})"),
        )
        .hint("kubefwdctl ns add NAMESPACE --kubeconfig FILE"),
        (present, "") => ok("kubeconfig", present),
        (present, absent) => Finding::new(
            Severity::Note,
            "kubeconfig",
            format!("{present}; {source} also names {absent}, which does not exist"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(present: &[&str], named: &[&str]) -> Finding {
        let files: Vec<PathBuf> = named.iter().map(PathBuf::from).collect();
        let exists = |file: &Path| present.iter().any(|name| Path::new(name) == file);
        judge_kubeconfig("KUBECONFIG", &files, exists)
    }

    #[test]
    fn a_kubeconfig_is_needed_but_not_every_one_that_is_named() {
        assert_eq!(
            judge(&["/a", "/b"], &["/a", "", "/b"]).severity,
            Severity::Ok
        );
        let some = judge(&["/a"], &["/a", "/b"]);
        assert_eq!(some.severity, Severity::Note);
        assert_eq!(
            some.message,
            "/a; KUBECONFIG also names /b, which does not exist"
        );
        let none = judge(&[], &["/a"]);
        assert_eq!(none.severity, Severity::Warning);
        assert!(!none.hint.is_empty());
    }
}
