//! Credential plugins (`users[].user.exec`): run as this user, with this user's environment, without a terminal.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use kube::config::{Cluster, ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use kubefwd_model::{Failure, Reason, failure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{AccessFlags, Pid};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::kubeconfig::Environment;
use credential::Credential;

pub(crate) mod credential;

/// How long a plugin may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How long to read on after the plugin has exited: processes that it left running may keep the pipes open.
const DRAIN: Duration = Duration::from_secs(1);
const MAX_OUTPUT: usize = 1024 * 1024;
const STDERR_TAIL: usize = 2048;
const VERSIONS: [&str; 2] = [
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
];

/// A credential plugin as a kubeconfig describes it.
pub(crate) struct Plugin {
    user: String,
    command: String,
    arguments: Vec<String>,
    environment: Environment,
    version: String,
    install_hint: String,
    limit: Duration,
}

impl Plugin {
    /// Checks the kubeconfig; nothing is run yet.
    ///
    /// # Errors
    /// The command is missing, the version is no longer supported, or the plugin needs a terminal.
    pub(crate) fn new(
        user: &str,
        config: &ExecConfig,
        cluster: &Cluster,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let invalid = |text: String| Failure::new(Reason::KubeconfigInvalid, text);
        let command = config.command.clone().filter(|command| !command.is_empty());
        let command = command.ok_or_else(|| {
            invalid(format!("the exec plugin of user {user:?} has no command"))
                .hint("set users[].user.exec.command in the kubeconfig")
        })?;
        let version = config.api_version.clone().unwrap_or_default();
        if !VERSIONS.contains(&version.as_str()) {
            return Err(invalid(format!(
                "the exec plugin of user {user:?} uses apiVersion {version:?}, which is not supported"
            ))
            .hint(format!("use {}; newer releases of the plugin support it", VERSIONS[0])));
        }
        let arguments = config.args.clone().unwrap_or_default();
        if config.interactive_mode == Some(ExecInteractiveMode::Always) {
            let by_hand = command_line(&command, &arguments);
            return Err(failure!(CredentialsNeeded, "the credential plugin of user {user:?} needs a terminal (interactiveMode: Always), which a service does not have")
            .hint(format!("set interactiveMode to IfAvailable and run `{by_hand}` in a terminal first")));
        }
        let told = config
            .provide_cluster_info
            .then(|| ExecAuthCluster::try_from(cluster));
        let told = told
            .transpose()
            .map_err(|error| invalid(error.to_string()))?;
        let info = credential::info(&version, told.as_ref())
            .map_err(|error| invalid(format!("cannot pass the cluster to the plugin: {error}")))?;

        let mut environment = environment.clone();
        for entry in config.env.iter().flatten() {
            if let (Some(name), Some(value)) = (entry.get("name"), entry.get("value")) {
                environment.insert(name.clone(), value.clone());
            }
        }
        environment.insert("KUBERNETES_EXEC_INFO".to_owned(), info);
        Ok(Self {
            user: user.to_owned(),
            command,
            arguments,
            environment,
            version,
            install_hint: config.install_hint.clone().unwrap_or_default(),
            limit: LIMIT,
        })
    }

    /// Runs the plugin once.
    ///
    /// # Errors
    /// It is missing, cannot be run, takes too long, fails, or prints no credential.
    pub(crate) async fn run(&self) -> Result<Credential, Failure> {
        let program = self.find()?;
        let mut command = Command::new(&program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| {
            self.failure(format!("cannot be run ({}): {error}", program.display()))
        })?;
        let group = ProcessGroup::of(&child);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let finishing = finish(&mut child, &mut stdout, &mut stderr);
        let finished = timeout(self.limit, finishing).await;
        drop(group);
        let stderr = tail(&stderr);
        let status = match finished {
            Err(_) => {
                let seconds = self.limit.as_secs_f32();
                return Err(self.failure(format!(
                    "did not answer within {seconds} s and was killed{stderr}"
                )));
            }
            Ok(Err(error)) => return Err(self.failure(format!("could not be waited for: {error}"))),
            Ok(Ok(None)) => {
                return Err(self.failure("printed more than 1 MiB and was killed".to_owned()));
            }
            Ok(Ok(Some(status))) => status,
        };
        if !status.success() {
            return Err(self.failure(format!("failed: {status}{stderr}")));
        }
        credential::parse(&stdout, &self.version)
            .map_err(|error| self.failure(format!("cannot be understood: {error}{stderr}")))
    }

    /// Finds the program as execvp(3) would with the user's PATH, to say precisely what is missing.
    fn find(&self) -> Result<PathBuf, Failure> {
        if self.command.contains('/') {
            let path = Some(PathBuf::from(&self.command)).filter(|path| is_program(path));
            return path.ok_or_else(|| self.missing(""));
        }
        let path = self.environment.get("PATH").map_or("", String::as_str);
        std::env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(&self.command))
            .find(|candidate| is_program(candidate))
            .ok_or_else(|| self.missing(&format!(" in PATH={path}")))
    }

    fn missing(&self, place: &str) -> Failure {
        let failure = failure!(
            CredentialsNeeded,
            "the credential plugin {:?} of user {:?} is missing or not executable{place}",
            self.command,
            self.user
        );
        let hint = self.install_hint.trim();
        if hint.is_empty() {
            failure.hint("install it, or run kubefwdctl once from a shell that has it in PATH")
        } else {
            failure.hint(hint)
        }
    }

    fn failure(&self, what: String) -> Failure {
        let by_hand = command_line(&self.command, &self.arguments);
        failure!(
            CredentialsNeeded,
            "the credential plugin {:?} of user {:?} {what}",
            self.command,
            self.user
        )
        .hint(format!(
            "run `{by_hand}` in a terminal, log in if it asks, and try again"
        ))
    }
}

/// Waits for the end of a plugin and reads its output; `None` when it printed too much.
async fn finish(
    child: &mut Child,
    stdout: &mut Vec<u8>,
    stderr: &mut Vec<u8>,
) -> std::io::Result<Option<ExitStatus>> {
    let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(std::io::Error::other("its output is not connected"));
    };
    let reading = async {
        // Too much output ends the reading at once: a flooding plugin would never stop.
        tokio::try_join!(read_all(&mut out, stdout), async {
            read_tail(&mut err, stderr).await;
            Ok(())
        })
    };
    tokio::pin!(reading);
    let status = tokio::select! {
        read = &mut reading => {
            if read.is_err() {
                return Ok(None);
            }
            return child.wait().await.map(Some);
        }
        status = child.wait() => status?,
    };
    let flooded = matches!(timeout(DRAIN, reading).await, Ok(Err(TooMuch)));
    Ok((!flooded).then_some(status))
}

/// A plugin and what it left running: ends with this value, for whatever reason.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.map(Pid::from_raw))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Usually no process is left, which is not an error.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// There is more output than [`MAX_OUTPUT`].
struct TooMuch;

/// Reads to the end, or to the limit.
async fn read_all(from: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) -> Result<(), TooMuch> {
    // A failing pipe ends the output as well; what is missing shows when it is parsed.
    let _ = from.take(MAX_OUTPUT as u64 + 1).read_to_end(into).await;
    if into.len() > MAX_OUTPUT {
        return Err(TooMuch);
    }
    Ok(())
}

/// Reads to the end and keeps the last [`STDERR_TAIL`] bytes.
async fn read_tail(from: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) {
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        into.extend_from_slice(&chunk[..read]);
        let surplus = into.len().saturating_sub(STDERR_TAIL);
        into.drain(..surplus);
    }
}

fn tail(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    match &lines[lines.len().saturating_sub(4)..] {
        [] => String::new(),
        last => format!("; it said: {}", last.join(" / ")),
    }
}

fn is_program(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, AccessFlags::X_OK).is_ok()
}

/// A command to type. Values of options that are secrets are left out: hints reach logs.
fn command_line(command: &str, arguments: &[String]) -> String {
    let mut words = vec![quoted(command)];
    let mut hide_next = false;
    for argument in arguments {
        let name = argument.split('=').next().unwrap_or_default();
        let (option, has_value) = (name.starts_with('-'), argument.contains('='));
        let secret = option && is_secret(name);
        words.push(match (secret, has_value) {
            _ if hide_next && !option => "…".to_owned(),
            (true, true) => format!("{name}=…"),
            _ => quoted(argument),
        });
        hide_next = secret && !has_value;
    }
    words.join(" ")
}

fn is_secret(option: &str) -> bool {
    let option = option.to_ascii_lowercase();
    let mut secrets = ["secret", "password", "passphrase"].into_iter();
    secrets.any(|part| option.contains(part))
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests;
