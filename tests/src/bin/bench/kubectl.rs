//! The peer: a real `kubectl port-forward`, over one of its two transports.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::tools::App;

/// Names the program, for whoever has it elsewhere.
pub(crate) const PROGRAM: &str = "KUBEFWD_BENCH_KUBECTL";

/// The newest kubectl there is: of the environment, or of `tests/tools/kubectl.sh`.
pub(crate) fn find() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(PROGRAM) {
        return Ok(named.into());
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/kubectl.sh");
    let output = Command::new(script)
        .output()
        .with_context(|| format!("cannot run {script}"))?;
    let found = String::from_utf8_lossy(&output.stdout);
    let newest = found.lines().last().map(PathBuf::from);
    newest.with_context(|| {
        let why = String::from_utf8_lossy(&output.stderr);
        format!("no kubectl to compare with: {why}set {PROGRAM} to the path of one")
    })
}

/// What it says of itself.
pub(crate) fn version() -> Result<String> {
    let output = Command::new(find()?)
        .args(["version", "--client"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("Client Version"));
    Ok(line
        .unwrap_or("Client Version: unknown")
        .replace("Client Version: ", "kubectl "))
}

/// Runs it to its end and returns what it printed.
pub(crate) fn run(kubeconfig: &Path, context: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(find()?)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--context", context])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("cannot run kubectl")?;
    ensure!(
        output.status.success(),
        "kubectl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A running `kubectl port-forward`.
#[derive(Debug)]
pub(crate) struct Forward {
    child: Child,
    pub(crate) addresses: BTreeMap<App, SocketAddr>,
}

impl Forward {
    /// Forwards all applications of `pod`, and returns once all listen.
    pub(crate) fn start(
        kubeconfig: &Path,
        context: &str,
        namespace: &str,
        pod: &str,
        websocket: bool,
    ) -> Result<Self> {
        let ports = App::ALL.map(|app| format!(":{}", app.port()));
        let mut child = Command::new(find()?)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["--context", context, "--namespace", namespace])
            .args(["port-forward", "--address=127.0.0.1", pod])
            .args(ports)
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websocket.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start kubectl")?;
        let output = child.stdout.take().context("it was asked for")?;
        let mut forward = Self {
            child,
            addresses: BTreeMap::new(),
        };
        let mut lines = BufReader::new(output).lines();
        while forward.addresses.len() < App::ALL.len() {
            let Some(line) = lines.next().transpose()? else {
                bail!("kubectl port-forward ended with {}", forward.child.wait()?);
            };
            forward.addresses.extend(listening(&line));
        }
        // It prints a line for every connection and would wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(forward)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// It gives up when its connection to the pod is lost.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// `Forwarding from 127.0.0.1:40123 -> 7000`.
fn listening(line: &str) -> Option<(App, SocketAddr)> {
    let (address, port) = line.strip_prefix("Forwarding from ")?.split_once(" -> ")?;
    let port: u16 = port.trim().parse().ok()?;
    let app = App::ALL.into_iter().find(|app| app.port() == port)?;
    Some((app, address.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_lines_are_understood() {
        let (app, address) = listening("Forwarding from 127.0.0.1:40123 -> 7000").unwrap();
        assert_eq!((app, address.port()), (App::Echo, 40123));
        assert!(listening("Handling connection for 7000").is_none());
    }
}
