//! The product under test: a daemon with its worker, and the client.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::http::Place;
use super::{Answer, Sandbox, eventually, programs};
use crate::Kubeconfig;

/// How a daemon is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Another hosts file than `/etc/hosts`.
    pub hosts_file: Option<PathBuf>,
    /// The configuration file's text.
    pub config: String,
    /// REST listens on TCP too, where the configuration says; else on its unix socket only.
    pub rest: bool,
    /// More arguments of the daemon; an option that is given here counts instead of the harness's own.
    pub flags: Vec<String>,
}

/// A daemon and whatever it started; all of it ends when this is dropped.
#[derive(Debug)]
pub struct System {
    dir: PathBuf,
    options: Options,
    daemon: Option<Child>,
    starts: usize,
}

impl System {
    /// Starts a daemon for a test, and writes the kubeconfig that [`Self::ctl`] uses.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start(sandbox: &Sandbox, kubeconfig: &Kubeconfig) -> Self {
        Self::start_with(sandbox, &kubeconfig.yaml(), Options::default())
    }

    /// The same with everything that can be chosen.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start_with(sandbox: &Sandbox, kubeconfig: &str, options: Options) -> Self {
        let mut system = Self::prepare(sandbox, kubeconfig, options);
        system.start_daemon();
        system
    }

    /// The same without starting the daemon: [`Self::start_daemon`] does.
    ///
    /// # Panics
    /// When the sandbox is not writable.
    #[must_use]
    pub fn prepare(sandbox: &Sandbox, kubeconfig: &str, options: Options) -> Self {
        let dir = sandbox.dir().to_owned();
        fs::write(dir.join("kubeconfig"), kubeconfig).expect("the sandbox is writable");
        fs::write(dir.join("kubefwdd.toml"), &options.config).expect("the sandbox is writable");
        Self {
            dir,
            options,
            daemon: None,
            starts: 0,
        }
    }

    // The daemon.

    /// The arguments that every use of the daemon's program shares.
    fn daemon_flags(&self) -> Vec<OsString> {
        let file = |flag: &str, name: &str| [flag.into(), self.dir.join(name).into_os_string()];
        let mut flags: Vec<OsString> = Vec::new();
        flags.extend(file("--config", "kubefwdd.toml"));
        flags.extend(file("--socket", "d.sock"));
        flags.extend(file("--rest-socket", "rest.sock"));
        flags.extend(file("--state-dir", "state"));
        if !self.options.rest {
            flags.extend(["--rest-listen".into(), "off".into()]);
        }
        if let Some(path) = &self.options.hosts_file {
            flags.extend(["--hosts-file".into(), path.clone().into_os_string()]);
        }
        // An option may be given once; the test's own comes instead of ours.
        let given: Vec<OsString> = self.options.flags.iter().map(OsString::from).collect();
        let ours = flags.chunks_exact(2);
        let ours = ours.filter(|pair| !given.contains(&pair[0])).flatten();
        ours.chain(&given).cloned().collect()
    }

    /// The socket of the control protocol.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("d.sock")
    }

    /// Starts the daemon again after [`Self::stop_daemon`] or [`Self::kill_daemon`] and waits until it is ready.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn start_daemon(&mut self) {
        self.start_daemon_by(Command::new(programs::find("kubefwdd")));
    }

    /// The same by a command line of the test's own, to which the daemon's arguments are added.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn start_daemon_by(&mut self, command: Command) {
        self.spawn(command);
        self.await_ready();
    }

    /// Starts the daemon without waiting for anything.
    ///
    /// # Panics
    /// When its program cannot be run.
    pub fn spawn_daemon(&mut self) {
        self.spawn(Command::new(programs::find("kubefwdd")));
    }

    fn spawn(&mut self, mut command: Command) {
        self.starts += 1;
        let output = File::create(self.log_path()).expect("the sandbox is writable");
        let child = command
            .args(self.daemon_flags())
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file can be shared"))
            .stderr(output)
            .spawn()
            .expect("kubefwdd can be started");
        self.daemon = Some(child);
    }

    /// Waits until the daemon is ready.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn await_ready(&mut self) {
        let log = self.log_path();
        let daemon = self.daemon.as_mut().expect("the daemon was started");
        eventually("kubefwdd becomes ready", || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if let Ok(Some(status)) = daemon.try_wait() {
                panic!("kubefwdd ended with {status}:\n{said}");
            }
            said.contains("is ready").then_some(())
        });
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join(format!("daemon-{}.log", self.starts))
    }

    /// What the present daemon has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Runs the daemon's program with the same paths and a subcommand or more flags, to its end.
    #[must_use]
    pub fn kubefwdd(&self, args: &[&str]) -> Answer {
        run(&mut self.kubefwdd_command(args))
    }

    /// The same, not yet started.
    #[must_use]
    pub fn kubefwdd_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(programs::find("kubefwdd"));
        command.args(args).args(self.daemon_flags());
        command
    }

    /// Writes another configuration file, for the next start or [`Self::reload`].
    ///
    /// # Panics
    /// When the sandbox is not writable.
    pub fn configure(&mut self, config: &str) {
        config.clone_into(&mut self.options.config);
        fs::write(self.dir.join("kubefwdd.toml"), config).expect("the sandbox is writable");
    }

    /// Tells the daemon to read its configuration again.
    pub fn reload(&self) {
        signal(self.daemon_pid(), Signal::SIGHUP);
    }

    /// The daemon's process id.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").id()
    }

    /// Ends the daemon as a service manager does, and expects success.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub fn stop_daemon(&mut self) {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        signal(daemon.id(), Signal::SIGTERM);
        let status = eventually("kubefwdd ends", || {
            daemon.try_wait().expect("it is our child")
        });
        assert!(
            status.success(),
            "kubefwdd ended with {status}:\n{}",
            self.log()
        );
    }

    /// Waits for the end of the daemon, for which it got a reason, and returns its exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub fn daemon_ends(&mut self) -> Option<i32> {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        let ended = eventually("kubefwdd ends", || {
            daemon.try_wait().expect("it is our child")
        });
        ended.code()
    }

    /// Ends the daemon without a chance to clean up.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill_daemon(&mut self) {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        signal(daemon.id(), Signal::SIGKILL);
        daemon.wait().expect("it is our child");
    }

    /// Stops the daemon and starts it again.
    pub fn restart_daemon(&mut self) {
        self.stop_daemon();
        self.start_daemon();
    }

    /// Replaces the configuration file and tells the daemon to read it again, as `systemctl reload` does. It is not waited
    /// for: [`Self::logged`] does, for what the daemon says then.
    ///
    /// # Panics
    /// When the daemon does not run.
    pub fn reload_daemon(&self, config: &str) {
        fs::write(self.dir.join("kubefwdd.toml"), config).expect("the sandbox is writable");
        signal(self.daemon_pid(), Signal::SIGHUP);
    }

    /// Waits until the present daemon has logged this.
    pub fn logged(&self, text: &str) {
        eventually(&format!("the daemon logs {text:?}"), || {
            self.log().contains(text).then_some(())
        });
    }

    /// The processes that the daemon has started: its workers.
    ///
    /// # Panics
    /// When the daemon does not run.
    #[must_use]
    pub fn workers(&self) -> Vec<u32> {
        // Every thread has the children that it started itself.
        let tasks = fs::read_dir(format!("/proc/{}/task", self.daemon_pid()));
        tasks
            .expect("the daemon runs")
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
            .flat_map(|text| {
                let ids = text.split_whitespace().map(str::parse);
                ids.map_while(Result::ok).collect::<Vec<u32>>()
            })
            .collect()
    }

    // The client.

    /// A client's command line, not yet started; for what [`Self::ctl`] does not cover.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(programs::find("kubefwdctl"));
        command
            .args(args)
            .env("KUBEFWD_SOCKET", self.socket())
            .env("KUBECONFIG", self.dir.join("kubeconfig"))
            .env("NO_COLOR", "1")
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::null());
        command
    }

    /// Runs the client to its end.
    #[must_use]
    pub fn ctl(&self, args: &[&str]) -> Answer {
        run(&mut self.command(args))
    }

    /// Runs the client to its end with another kubeconfig.
    #[must_use]
    pub fn ctl_with(&self, kubeconfig: &Path, args: &[&str]) -> Answer {
        run(self.command(args).env("KUBECONFIG", kubeconfig))
    }

    /// What a command prints as JSON.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn json(&self, args: &[&str]) -> Value {
        self.ctl(&[args, &["-o", "json"]].concat()).json()
    }

    /// The same, also where the exit code says that something is not well.
    #[must_use]
    pub fn try_json(&self, args: &[&str]) -> Option<Value> {
        let answer = self.ctl(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&answer.out).ok()
    }

    /// The service with this key, if it is listed.
    #[must_use]
    pub fn service(&self, key: &str) -> Option<Value> {
        let all = self.try_json(&["svc", "ls"])?;
        all["services"]
            .as_array()?
            .iter()
            .find(|service| service["key"] == key)
            .cloned()
    }

    /// Waits until a service is in a state, and returns it.
    #[must_use]
    pub fn service_in(&self, key: &str, state: &str) -> Value {
        eventually(
            &format!("{key} is {state}; now {:?}", self.service(key)),
            || {
                self.service(key)
                    .filter(|service| service["status"] == state)
            },
        )
    }

    /// Waits until a service is listed no longer.
    pub fn service_gone(&self, key: &str) {
        eventually(&format!("{key} goes away"), || {
            self.service(key).is_none().then_some(())
        });
    }

    /// Where REST listens for clients on this machine's file system.
    #[must_use]
    pub fn rest_socket(&self) -> Place {
        Place::Unix(self.dir.join("rest.sock"))
    }

    /// The namespace with this name (of any context), if it is listed.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<Value> {
        let all = self.try_json(&["ns", "ls"])?;
        let all = all["namespaces"].as_array()?;
        all.iter().find(|n| n["namespace"] == name).cloned()
    }

    /// Whether the hosts file has a name.
    #[must_use]
    pub fn hosts_have(&self, name: &str) -> bool {
        let hosts = self.hosts();
        String::from_utf8_lossy(&hosts)
            .lines()
            .any(|line| line.split_whitespace().skip(1).any(|word| word == name))
    }

    /// The content of the hosts file.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn hosts(&self) -> Vec<u8> {
        let path = self.options.hosts_file.as_deref();
        fs::read(path.unwrap_or(Path::new("/etc/hosts"))).expect("the hosts file is readable")
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // Workers end with the socket to their daemon.
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        signal(daemon.id(), Signal::SIGKILL);
        let _ended = daemon.wait();
        if std::thread::panicking() {
            show_log(&self.log());
        }
    }
}

#[expect(clippy::print_stderr, reason = "the daemon's view of a failed test")]
fn show_log(log: &str) {
    eprintln!("--- what the daemon logged\n{log}");
}

/// Sends a signal to one process.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("process ids are positive numbers of 31 bits");
    // A process that has ended meanwhile is where the signal was to bring it.
    let _gone = kill(Pid::from_raw(pid), signal);
}

/// Runs a program to its end.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn run(command: &mut Command) -> Answer {
    let name = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_owned();
    let args = command
        .get_args()
        .collect::<Vec<_>>()
        .join(std::ffi::OsStr::new(" "));
    let line = format!("{} {}", name.display(), args.display());
    let output = command.stdin(Stdio::null()).output();
    Answer::new(
        line.clone(),
        &output.unwrap_or_else(|error| panic!("{line}: {error}")),
    )
}
