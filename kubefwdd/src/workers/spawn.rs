//! Starts a worker as its user: groups, gid, uid, in that order, then asserted; a clean environment; no descriptor but
//! the channel.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kubefwd_model::Uid;
use kubefwd_proto::environment;
use nix::unistd::{self as unix, geteuid};
use tokio::process::{Child, Command};

use crate::peer::{self, LookupError};
use crate::sys::{self, Identity};

/// Where a user's programs are looked for when no client said otherwise.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// Why a worker cannot be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpawnError {
    #[error(transparent)]
    User(#[from] LookupError),
    #[error("the home directory of {0} is not a valid path")]
    Home(String),
    #[error(
        "uid {uid} cannot be served: the daemon runs as uid {own}; run it as root to serve other users"
    )]
    NotRoot { uid: Uid, own: unix::Uid },
    #[error("cannot create a socket pair: {0}")]
    Socket(io::Error),
    #[error("cannot run {}: {error}", program.display())]
    Run { program: PathBuf, error: io::Error },
}

/// A worker that was started.
pub(super) struct Spawned {
    pub(super) child: Child,
    /// The daemon's end of its channel.
    pub(super) socket: UnixStream,
    /// The user's name.
    pub(super) user: String,
}

/// Starts `program` as `uid`.
pub(super) fn spawn(
    program: &Path,
    uid: Uid,
    environment: &BTreeMap<String, String>,
) -> Result<Spawned, SpawnError> {
    let user = peer::account(uid)?;
    let own = geteuid();
    if !own.is_root() && own.as_raw() != uid.get() {
        return Err(SpawnError::NotRoot { uid, own });
    }
    // The daemon's own user has nothing to drop; and in a user namespace it could not.
    let identity = if own.as_raw() == uid.get() {
        None
    } else {
        Some(identity(&user)?)
    };
    let (ours, theirs) = UnixStream::pair().map_err(SpawnError::Socket)?;

    let mut command = Command::new(program);
    command
        .arg("--channel-fd")
        .arg(sys::CHANNEL_FD.to_string())
        .env_clear()
        .envs(worker_environment(&user, environment))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if uid.is_root() {
        command.arg("--allow-root");
    }
    sys::become_user_on_exec(
        command.as_std_mut(),
        identity,
        theirs.as_raw_fd(),
        home(&user)?,
    );
    let child = command.spawn().map_err(|error| SpawnError::Run {
        program: program.to_owned(),
        error,
    })?;
    Ok(Spawned {
        child,
        socket: ours,
        user: user.name,
    })
}

fn identity(user: &unix::User) -> Result<Identity, SpawnError> {
    Ok(Identity {
        uid: user.uid,
        gid: user.gid,
        groups: peer::groups(user)?,
    })
}

fn home(user: &unix::User) -> Result<CString, SpawnError> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(user.dir.as_os_str().as_bytes()).map_err(|_| SpawnError::Home(user.name.clone()))
}

/// What the worker's plugins see: who the user is, from the user database, and what the user's client sent.
fn worker_environment(
    user: &unix::User,
    sent: &BTreeMap<String, String>,
) -> BTreeMap<String, std::ffi::OsString> {
    let mut variables: BTreeMap<String, std::ffi::OsString> = environment::filter(sent.clone())
        .into_iter()
        .map(|(k, v)| (k, v.into()))
        .collect();
    variables
        .entry("PATH".into())
        .or_insert_with(|| DEFAULT_PATH.into());
    variables
        .entry("HOME".into())
        .or_insert_with(|| user.dir.clone().into());
    follow_session(
        &mut variables,
        Path::new(&format!("/run/user/{}", user.uid)),
    );
    variables.insert("USER".into(), user.name.clone().into());
    variables.insert("LOGNAME".into(), user.name.clone().into());
    variables.insert("SHELL".into(), user.shell.clone().into());
    if let Some(level) = std::env::var_os("KUBEFWD_WORKER_LOG") {
        variables.insert("KUBEFWD_WORKER_LOG".into(), level);
    }
    variables
}

/// The login session's directory and bus, where there is a session now: what a client sent may be of an earlier one, and
/// the state keeps neither.
fn follow_session(variables: &mut BTreeMap<String, std::ffi::OsString>, directory: &Path) {
    let bus = directory.join("bus");
    let of_session = [
        ("XDG_RUNTIME_DIR", directory.is_dir(), directory.into()),
        (
            "DBUS_SESSION_BUS_ADDRESS",
            bus.exists(),
            format!("unix:path={}", bus.display()).into(),
        ),
    ];
    for (name, exists, value) in of_session {
        if exists {
            variables.entry(name.into()).or_insert(value);
        } else {
            variables.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_knows_its_user_and_nothing_that_changes_how_it_is_loaded() {
        let user = peer::account(nix::unistd::Uid::current().as_raw().into()).unwrap();
        let sent = [
            ("LD_PRELOAD", "/tmp/x.so"),
            ("AWS_PROFILE", "dev"),
            ("USER", "other"),
        ];
        let sent = sent.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let environment = worker_environment(&user, &sent);
        assert!(!environment.contains_key("LD_PRELOAD"));
        assert_eq!(environment["AWS_PROFILE"], "dev");
        assert_eq!(environment["USER"], *user.name);
        assert_eq!(environment["HOME"], *user.dir.as_os_str());
        assert_eq!(environment["PATH"], DEFAULT_PATH);
    }

    #[test]
    fn a_plugin_is_sent_to_a_session_that_exists_only() {
        let run = tempfile::tempdir().unwrap();
        let stale = || BTreeMap::from([("XDG_RUNTIME_DIR".to_owned(), "/run/user/old".into())]);
        let mut variables = stale();
        follow_session(&mut variables, &run.path().join("none"));
        assert!(variables.is_empty(), "{variables:?}");
        follow_session(&mut variables, run.path());
        assert_eq!(variables["XDG_RUNTIME_DIR"], *run.path().as_os_str());
        assert_eq!(variables.len(), 1, "there is no bus");
        std::fs::write(run.path().join("bus"), "").unwrap();
        follow_session(&mut variables, run.path());
        assert!(variables.contains_key("DBUS_SESSION_BUS_ADDRESS"));
    }
}
