//! The daemon's command line. Everything it needs has a default; flags override the configuration file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Forward Kubernetes services to this machine, for all its users.
#[derive(Debug, Parser)]
#[command(name = "kubefwdd", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; without one the daemon runs.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// For running.
    #[command(flatten)]
    pub flags: Flags,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground (the default)
    Run(Flags),
    /// Remove what a crashed daemon left behind: its block in the hosts file and its addresses
    Cleanup(Flags),
    /// Check the configuration and exit
    CheckConfig(Flags),
}

/// Where things are.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// Configuration file [default: /etc/kubefwd/kubefwdd.toml, which need not exist]
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Socket that kubefwdctl connects to [default: /run/kubefwd/kubefwdd.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// State directory [default: /var/lib/kubefwd]
    #[arg(long, value_name = "PATH")]
    pub state_dir: Option<PathBuf>,
    /// Hosts file [default: /etc/hosts]
    #[arg(long, value_name = "PATH")]
    pub hosts_file: Option<PathBuf>,
    /// Worker program [default: next to kubefwdd, else /usr/libexec/kubefwd/kubefwd-worker]
    #[arg(long, value_name = "PATH")]
    pub worker: Option<PathBuf>,
    /// REST listen address, or `off` [default: 127.2.27.1:80]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub rest_listen: Option<String>,
    /// Unix socket for REST [default: /run/kubefwd/rest.sock]
    #[arg(long, value_name = "PATH")]
    pub rest_socket: Option<PathBuf>,
    /// Log filter, e.g. `debug` or `info,kubefwdd::workers=debug` [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}
