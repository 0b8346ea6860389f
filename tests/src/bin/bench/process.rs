//! What the kernel says about processes, and what it allows this one.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Says what new TCP connections use, and takes another; each network namespace has its own.
pub(crate) const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Thousands of connections are held open, here and in everything that is started from here.
pub(crate) fn raise_descriptor_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of open files")
}

/// Processor time that a process has used, all its threads together.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let pid = Pid::from_raw(pid.try_into()?);
    let used = clock_getcpuclockid(pid).and_then(clock_gettime);
    let used = used.with_context(|| format!("process {pid} cannot be asked for its time"))?;
    Ok(used.into())
}

/// Memory of a process that is in RAM, in bytes, with what it shares.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    Ok(kibibytes.with_context(|| format!("no VmRSS in {path}"))? * 1024)
}

/// The first child of a process with this name.
pub(crate) fn child(parent: u32, name: &str) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let by_thread = children.unwrap_or_default();
    let listed = by_thread
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    listed.chain(processes()).find(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((head, rest)) = text.rsplit_once(')') else {
            return false;
        };
        let is_child = rest.split_whitespace().nth(1) == Some(&parent.to_string());
        is_child && head.split_once('(').is_some_and(|(_, comm)| comm == name)
    })
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What a reader must know of the machine to judge the numbers.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let tcp = fs::read_to_string(CONGESTION_CONTROL).unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<_> = load.split(' ').take(3).collect();
    format!(
        "{model}, {cores} cores, Linux {}, TCP {}, load {}",
        kernel.trim(),
        tcp.trim(),
        load.join(" ")
    )
}
