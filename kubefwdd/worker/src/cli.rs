//! Arguments: the daemon is the only caller.

use std::os::fd::RawFd;

use clap::Parser;

/// Forwards for one user of kubefwdd, with that user's rights. Started by kubefwdd, never by hand.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// The descriptor of the channel to the daemon.
    #[arg(long, value_name = "N")]
    pub channel_fd: RawFd,
    /// The user is root.
    #[arg(long)]
    pub allow_root: bool,
}
