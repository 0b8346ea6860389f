//! What the daemon says of itself: facts, the hosts file, where REST answers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use kubefwd_model::HostName;

/// Facts about this daemon that do not change while it runs.
#[derive(Clone, Debug)]
pub struct Info {
    /// Semantic version.
    pub version: &'static str,
    /// When it started.
    pub started_at: SystemTime,
    /// Its process.
    pub pid: u32,
    /// The configuration file it read, or would have read.
    pub config_path: PathBuf,
    /// Where its state is.
    pub state_path: PathBuf,
    /// The hosts file.
    pub hosts_path: PathBuf,
    /// Where addresses come from, as `base/prefix`.
    pub address_range: String,
}

/// Where REST answers over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestStatus {
    /// The configuration turned it off.
    Off,
    /// At this URL.
    At(String),
    /// It cannot; why.
    Failed(String),
}

/// What is known of the hosts file.
#[derive(Debug, Clone, Default)]
pub struct HostsStatus {
    /// The revision that is in the file; 0 before the first.
    pub revision: u64,
    /// How many addresses our block holds.
    pub entries: usize,
    /// When we last wrote.
    pub last_written: Option<SystemTime>,
    /// How often we wrote.
    pub writes: u64,
    /// Why the file could not be read or written, while that is so.
    pub error: Option<String>,
    /// The names that foreign lines hold.
    pub foreign_names: Arc<BTreeSet<HostName>>,
    /// Since when that is so.
    pub failing_since: Option<SystemTime>,
    /// How often another program changed our block and it was put back.
    pub tampered: u64,
    /// When that was last seen.
    pub last_tampered: Option<SystemTime>,
}
