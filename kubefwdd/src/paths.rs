//! Where everything is: a flag, else the configuration, else the default.

use std::path::PathBuf;

use kubefwd_proto::control::DEFAULT_SOCKET;

use crate::cli::Flags;
use crate::config::{Config, ConfigError};

/// The configuration file that need not exist.
const CONFIG: &str = "/etc/kubefwd/kubefwdd.toml";
const STATE: &str = "/var/lib/kubefwd";
const HOSTS: &str = "/etc/hosts";
const REST_SOCKET: &str = match cfg!(target_os = "macos") {
    true => "/var/run/kubefwd-rest.sock",
    false => "/run/kubefwd/rest.sock",
};
const WORKER: &str = "kubefwd-worker";
const WORKER_INSTALLED: &str = "/usr/libexec/kubefwd/kubefwd-worker";

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The configuration file.
    pub config: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// The socket that serves REST.
    pub rest_socket: PathBuf,
    /// The directory of the state.
    pub state_dir: PathBuf,
    /// The hosts file.
    pub hosts: PathBuf,
    /// The worker's program.
    pub worker: PathBuf,
}

/// Reads the configuration that the flags name, and where everything is by both.
///
/// # Errors
/// When the configuration cannot be read or used.
pub fn resolve(flags: &Flags) -> Result<(Config, Paths), ConfigError> {
    let path = flags.config.clone().unwrap_or_else(|| CONFIG.into());
    let config = Config::read(&path, flags.config.is_some())?;
    let pick = |flag: &Option<PathBuf>, set: &Option<PathBuf>, default: &str| {
        flag.clone()
            .or_else(|| set.clone())
            .unwrap_or_else(|| default.into())
    };
    let paths = Paths {
        socket: pick(&flags.socket, &config.socket, DEFAULT_SOCKET),
        rest_socket: pick(&flags.rest_socket, &config.rest.socket, REST_SOCKET),
        state_dir: pick(&flags.state_dir, &config.state_dir, STATE),
        hosts: pick(&flags.hosts_file, &config.hosts_file, HOSTS),
        worker: flags
            .worker
            .clone()
            .or_else(|| config.worker.clone())
            .unwrap_or_else(worker),
        config: path,
    };
    Ok((config, paths))
}

/// The worker beside the daemon's own program (a build folder), else where packages put it.
fn worker() -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join(WORKER)));
    beside
        .filter(|path| path.exists())
        .unwrap_or_else(|| WORKER_INSTALLED.into())
}
