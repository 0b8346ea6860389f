//! What the daemon takes from its machine at start: limits, the lock, the machine's own names.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kubefwd_core::hosts_block;
use kubefwd_core::names::NameRules;
use kubefwd_core::state::Settings;
use kubefwd_model::HostName;
use kubefwd_proto::worker::v1::Tuning;
use kubefwd_telemetry::logs::LogRing;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::{Config, ConfigError};
use crate::net::Loopback;

/// What is logged when nobody said otherwise.
const DEFAULT_LOG: &str = "info";

const RESOLVER: &str = "/etc/resolv.conf";
/// The state names what users forward, and the lock who runs.
const PRIVATE_DIRECTORY: u32 = 0o700;

/// Where logs go, and how much of them.
#[derive(Clone)]
pub struct Logs {
    /// What people read through the daemon.
    pub(super) ring: Arc<LogRing>,
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Logs to standard error and into a ring; `filter` in the syntax of `EnvFilter`, `info` without one.
pub fn init_log(filter: Option<&str>) -> Logs {
    let (ring, layer) = kubefwd_telemetry::log_ring();
    let wanted = filter.unwrap_or(DEFAULT_LOG);
    let parsed = EnvFilter::try_new(wanted);
    let problem = parsed.as_ref().err().map(ToString::to_string);
    let filter = parsed.unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_writer(std::io::stderr);
    // Under a service manager each line has its time already.
    let lines = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => lines.without_time().boxed(),
        None => lines.boxed(),
    };
    let initialised = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(layer)
        .try_init();
    if let Err(error) = initialised {
        tracing::debug!(%error, "logging is already set up");
    }
    if let Some(problem) = problem {
        tracing::warn!("invalid log filter {wanted:?}, using {DEFAULT_LOG}: {problem}");
    }
    Logs {
        ring,
        filter: handle,
    }
}

// === impl Logs ===

impl Logs {
    /// Logs by another filter from now on, `info` without one.
    ///
    /// # Errors
    /// When it is none; the old one stays then.
    pub(super) fn set_filter(&self, filter: Option<&str>) -> Result<()> {
        let filter = EnvFilter::try_new(filter.unwrap_or(DEFAULT_LOG))?;
        Ok(self.filter.reload(filter)?)
    }
}

/// Every service needs a descriptor: as many as the hard limit lets us have.
pub(super) fn raise_descriptor_limit() {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        tracing::warn!(%error, "cannot raise the open file limit");
    }
}

/// Aliases that were added are remembered beside the state, so that a crash leaves none.
pub(super) fn loopback(state_dir: &Path) -> Result<Loopback> {
    Loopback::open(state_dir.join("addresses.journal"))
        .context("cannot remove the addresses of a crashed daemon")
}

pub(super) fn tuning(config: &Config) -> Result<Tuning> {
    let millis = |time: Option<Duration>| {
        time.map_or(0, |time| {
            u32::try_from(time.as_millis().max(1)).unwrap_or(u32::MAX)
        })
    };
    Ok(Tuning {
        no_backend_wait_ms: millis(config.no_backend_wait()?),
        half_close_grace_ms: millis(config.half_close_grace()?),
        no_http_capture: !config.http.capture,
        keep_http_queries: config.http.keep_queries,
    })
}

/// What the state needs to know of the configuration.
pub(super) fn settings(config: &Config) -> Result<Settings, ConfigError> {
    Ok(Settings {
        dashed_names: config.names.dashed,
        domains: config.domains()?,
        max_services_per_user: config.limits.services_per_user,
        range: config.range()?,
        reservations: config.reservations()?,
        access: config.access()?,
        capture: config.http.capture,
    })
}

/// Names that are the machine's own or stand on lines of others in the hosts file.
pub(super) fn name_rules(hosts: &Path, allowed_suffixes: BTreeSet<HostName>) -> NameRules {
    let own = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    let mut machine_names = BTreeSet::new();
    if let Some(name) = own {
        let short = name.split('.').next().unwrap_or_default().to_owned();
        machine_names.extend(
            [name, short]
                .iter()
                .filter_map(|name| HostName::parse(name).ok()),
        );
    }
    let text = std::fs::read(hosts).unwrap_or_default();
    NameRules {
        search_domains: search_domains(&machine_names),
        machine_names,
        hosts_lines: hosts_block::foreign_names(&text),
        allowed_suffixes,
    }
}

/// The domain of the machine's own name, and those that the resolver tries (resolv.conf(5)).
fn search_domains(machine_names: &BTreeSet<HostName>) -> BTreeSet<HostName> {
    let own = machine_names.iter().filter_map(|name| {
        let (_, domain) = name.as_str().split_once('.')?;
        HostName::parse(domain).ok()
    });
    let text = fs::read_to_string(RESOLVER).unwrap_or_default();
    let lines = text.lines().map(str::split_whitespace);
    let searched = lines.filter_map(|mut words| match words.next() {
        Some("search" | "domain") => Some(words),
        _ => None,
    });
    let searched = searched
        .flatten()
        .filter_map(|domain| HostName::parse(domain.trim_end_matches('.')).ok());
    own.chain(searched).collect()
}

/// Creates a directory that only this user can look into; one that is there and is ours is made so.
pub(super) fn create_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_DIRECTORY)
        .create(directory)?;
    let metadata = fs::metadata(directory)?;
    let is_ours = metadata.uid() == geteuid().as_raw();
    if is_ours && metadata.mode() & 0o077 != 0 {
        let private = fs::set_permissions(directory, PermissionsExt::from_mode(PRIVATE_DIRECTORY));
        if let Err(error) = private {
            tracing::warn!(%error, "other users can look into {}", directory.display());
        }
    }
    Ok(())
}

/// Makes sure that nobody but root can replace the program that gets every user's kubeconfig. What is beside the daemon's
/// own program is as safe as that.
///
/// # Errors
/// When somebody can; the text names the file or directory.
pub(super) fn check_program(program: &Path) -> Result<()> {
    let own = std::env::current_exe().ok();
    let is_beside = own.is_some_and(|own| own.parent() == program.parent());
    if is_beside || !geteuid().is_root() {
        return Ok(());
    }
    // A program that is not there is reported when a worker is started.
    let Ok(real) = program.canonicalize() else {
        return Ok(());
    };
    // In a user namespace the machine's root has another number.
    let root = fs::metadata("/").map_or(0, |metadata| metadata.uid());
    for path in real.ancestors() {
        let metadata =
            fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
        let is_sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
        let is_open = metadata.mode() & 0o022 != 0 && !is_sticky;
        if is_open || ![0, root].contains(&metadata.uid()) {
            bail!(
                "{} is not root's alone, so that others could replace the worker {}: \
                 run `chown root {path}; chmod go-w {path}`, or install kubefwd elsewhere",
                path.display(),
                program.display(),
                path = path.display(),
            );
        }
    }
    Ok(())
}

/// Takes the lock of the one daemon that works with a state directory. A directory that cannot be written needs none:
/// nobody changes anything in it.
///
/// # Errors
/// When another daemon has it; the text names its process.
pub(super) fn lock(state_dir: &Path) -> Result<Option<Flock<File>>> {
    let path = state_dir.join("lock");
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            tracing::warn!("{} is read-only", state_dir.display());
            return Ok(None);
        }
        // No room for another file.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| {
                format!(
                    "cannot open {}; run kubefwdd as root, or set --state-dir",
                    path.display()
                )
            });
        }
    };
    let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => file,
        Err((mut file, _)) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            bail!(
                "another kubefwdd (pid {}) is using {}: stop it first, e.g. `systemctl stop kubefwdd`",
                holder.trim(),
                state_dir.display()
            );
        }
    };
    // The lock is what counts; the number is for people.
    let noted = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = noted {
        tracing::warn!(path = %path.display(), %error, "the lock does not name this process");
    }
    Ok(Some(file))
}
