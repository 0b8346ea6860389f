//! The bench in namespaces of its own: ports, addresses and the hosts file of the machine stay as they are.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use kubefwd_tests::harness::sandbox;

use crate::{kubectl, process};

/// Present in the process inside; its value is the directory for everything that the run writes.
const MARK: &str = "KUBEFWD_BENCH_DIR";

/// Where the run may write, in the process inside.
pub(crate) fn directory() -> Option<PathBuf> {
    std::env::var_os(MARK).map(PathBuf::from)
}

/// Runs the bench again inside, and returns its exit code.
pub(crate) fn enter() -> Result<ExitCode> {
    // Inside there is no network to fetch it over.
    let kubectl = kubectl::find()?;
    let temp = tempfile::Builder::new()
        .prefix("kubefwd-bench")
        .tempdir()
        .context("cannot make a temporary directory")?;
    sandbox::open_to_all(temp.path());
    let own = std::env::current_exe().context("the bench does not know its own path")?;
    let mut command = sandbox::unshare();
    if !sandbox::is_real() {
        // A real cluster's credentials may lie in the home of whoever asks.
        command.env("HOME", temp.path());
    }
    let status = command
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(MARK, temp.path())
        .env(kubectl::PROGRAM, kubectl)
        .status()
        .context("cannot run unshare (package util-linux)")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Prepares the namespaces that this process was started in.
pub(crate) fn prepare(directory: &Path) {
    sandbox::prepare(directory);
    if !sandbox::is_real() {
        choose_congestion_control();
    }
}

/// Congestion control as nearly all machines have it. One that paces (BBR) does so on the loopback interface too, and takes
/// more processor time there than whoever sends; who is no administrator may not choose any. The report says which it is.
fn choose_congestion_control() {
    let choices = ["cubic", "reno"].into_iter();
    let _chosen = choices
        .map(|name| std::fs::write(process::CONGESTION_CONTROL, name))
        .find(io::Result::is_ok);
}
