//! The real programs: a daemon with everything of its own, and the client that talks to it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::sandbox;

/// Everything here happens in much less; a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon, or the place for one.
pub(crate) struct System {
    pub(crate) dir: TempDir,
    daemon: Option<Daemon>,
    kubeconfig: PathBuf,
    /// Flags of the daemon beyond those that every test needs.
    flags: Vec<String>,
    hosts: PathBuf,
    original_hosts: Vec<u8>,
}

struct Daemon {
    process: Child,
    lines: Receiver<String>,
    log: String,
}

/// What a program printed.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A program that was built with this one.
pub(crate) fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.ancestors().nth(2).unwrap();
    let program = folder.join(name);
    assert!(
        program.exists(),
        "{} is missing: run `make build`",
        program.display()
    );
    program
}

// === impl System ===

impl System {
    /// A daemon that writes the private hosts file of this process, which every program of the test resolves with.
    pub(crate) fn start(kubeconfig: &str) -> Self {
        let mut system = Self::prepare(kubeconfig);
        system.start_daemon();
        system
    }

    /// As [`System::start`], with the daemon not started yet.
    pub(crate) fn prepare(kubeconfig: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("kubefwd-test")
            .tempdir()
            .unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(dir.path(), mode).unwrap();
        let hosts = dir.path().join("hosts");
        let original_hosts = b"127.0.0.1\tlocalhost\n# mine\n10.1.2.3 printer\n".to_vec();
        fs::write(&hosts, &original_hosts).unwrap();
        sandbox::bind_over(&hosts, Path::new("/etc/hosts"));
        let path = dir.path().join("kubeconfig");
        fs::write(&path, kubeconfig).unwrap();
        let hosts = PathBuf::from("/etc/hosts");
        Self {
            dir,
            daemon: None,
            kubeconfig: path,
            flags: Vec::new(),
            hosts,
            original_hosts,
        }
    }

    /// The hosts file before any daemon.
    pub(crate) fn original_hosts(&self) -> &[u8] {
        &self.original_hosts
    }

    /// Another hosts file than the one that programs resolve with.
    pub(crate) fn with_hosts(mut self, content: &[u8]) -> Self {
        self.hosts = self.dir.path().join("other-hosts");
        fs::write(&self.hosts, content).unwrap();
        self
    }

    /// A flag of the daemon.
    pub(crate) fn with_flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    pub(crate) fn start_daemon(&mut self) {
        let mut process = self
            .daemon_command()
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let errors = BufReader::new(process.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                // The test may not listen any more.
                let _ = sender.send(line);
            }
        });
        let mut daemon = Daemon {
            process,
            lines,
            log: String::new(),
        };
        daemon.wait_for("kubefwdd is ready");
        self.daemon = Some(daemon);
    }

    /// The daemon's command line.
    pub(crate) fn daemon_command(&self) -> Command {
        let at = |name: &str| self.dir.path().join(name);
        let mut command = Command::new(program("kubefwdd"));
        command
            .arg("--socket")
            .arg(self.socket())
            .arg("--rest-socket")
            .arg(at("rest.sock"))
            .arg("--state-dir")
            .arg(at("state"))
            .arg("--hosts-file")
            .arg(&self.hosts)
            .args(&self.flags)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("kubefwdd.sock")
    }

    pub(crate) fn daemon_pid(&self) -> Pid {
        let daemon = self.daemon.as_ref().expect("the daemon runs");
        Pid::from_raw(i32::try_from(daemon.process.id()).unwrap())
    }

    /// Tells the daemon to end, and waits until it has.
    pub(crate) fn stop_daemon(&mut self) {
        kill(self.daemon_pid(), Signal::SIGTERM).unwrap();
        let mut daemon = self.daemon.take().unwrap();
        let status = daemon.process.wait().unwrap();
        assert!(
            status.success(),
            "kubefwdd ended with {status}: {}",
            daemon.log()
        );
    }

    /// The daemon dies without a chance to do anything.
    pub(crate) fn crash_daemon(&mut self) {
        kill(self.daemon_pid(), Signal::SIGKILL).unwrap();
        self.daemon.take().unwrap().process.wait().unwrap();
    }

    /// The client's command line, as this user.
    pub(crate) fn ctl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("kubefwdctl"));
        command
            .args(arguments)
            .env_remove("XDG_CONFIG_HOME")
            .env("HOME", self.dir.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBEFWD_SOCKET", self.socket())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn ctl(&self, arguments: &[&str]) -> Printed {
        Printed::of(self.ctl_command(arguments).output().unwrap())
    }

    /// Runs the client, which must succeed; gives what it printed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let printed = self.ctl(arguments);
        assert_eq!(printed.code, 0, "kubefwdctl {arguments:?}: {printed:?}");
        printed.out
    }

    /// Runs the client, which must fail with this code and say all of this.
    pub(crate) fn fails(&self, arguments: &[&str], code: i32, texts: &[&str]) {
        self.ctl(arguments).failed_with(code, texts);
    }

    /// The daemon's view of a service of the test's namespace.
    pub(crate) fn service(&self, name: &str) -> Option<Value> {
        let listing: Value = serde_json::from_str(&self.ok(&["svc", "ls", "-o", "json"])).unwrap();
        let services = listing["services"].as_array().unwrap();
        services
            .iter()
            .find(|service| service["serviceName"] == name)
            .cloned()
    }

    /// The daemon's view of a namespace.
    pub(crate) fn namespace(&self, name: &str) -> Option<Value> {
        let listing: Value = serde_json::from_str(&self.ok(&["ns", "ls", "-o", "json"])).unwrap();
        let namespaces = listing["namespaces"].as_array().unwrap();
        namespaces
            .iter()
            .find(|namespace| namespace["namespace"] == name)
            .cloned()
    }

    /// Waits until something is so.
    pub(crate) fn until(&self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !so(self) {
            let listing = || self.ctl(&["svc", "ls", "-o", "wide"]).out;
            assert!(
                Instant::now() < end,
                "not so in time: {what}\n{}\n{}",
                listing(),
                self.ctl(&["ns", "ls"]).out
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn hosts(&self) -> Vec<u8> {
        fs::read(&self.hosts).unwrap()
    }

    pub(crate) fn hosts_have(&self, name: &str) -> bool {
        let text = self.hosts();
        let text = String::from_utf8_lossy(&text);
        text.lines()
            .any(|line| line.split_whitespace().skip(1).any(|word| word == name))
    }

    /// The processes that the daemon started.
    pub(crate) fn workers(&self) -> Vec<Pid> {
        let pid = self.daemon_pid();
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let children = tasks
            .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
            .collect::<String>();
        children
            .split_whitespace()
            .map(|pid| Pid::from_raw(pid.parse().unwrap()))
            .collect()
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = kill(
                Pid::from_raw(daemon.process.id().cast_signed()),
                Signal::SIGTERM,
            );
            let _ = daemon.process.wait();
            if std::thread::panicking() {
                eprintln!("--- log of kubefwdd\n{}", daemon.log());
            }
        }
        sandbox::unbind(Path::new("/etc/hosts"));
    }
}

// === impl Daemon ===

impl Daemon {
    fn wait_for(&mut self, text: &str) {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.log.push_str(&line);
                    self.log.push('\n');
                    if line.contains(text) {
                        return;
                    }
                }
                Err(_) => panic!("kubefwdd did not say {text:?}; it said:\n{}", self.log),
            }
        }
    }

    fn log(&mut self) -> String {
        let rest: Vec<String> = self.lines.try_iter().collect();
        format!("{}{}", self.log, rest.join("\n"))
    }
}

// === impl Printed ===

impl Printed {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn failed_with(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for text in texts {
            assert!(self.err.contains(text), "no {text:?} in {}", self.err);
        }
    }
}
