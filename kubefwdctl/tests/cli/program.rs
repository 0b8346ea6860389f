//! Running the real program, with nothing of this machine in what it prints.

use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// What a run left.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// All of it, for a snapshot.
    pub(crate) fn text(&self) -> String {
        let code = self
            .code
            .map_or("a signal".to_owned(), |code| code.to_string());
        let mut text = format!("exit {code}\n");
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                text += &format!("--- {name}\n{stream}");
            }
        }
        text
    }
}

/// A command line, without its first word.
pub(crate) fn command(socket: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubefwdctl"));
    command
        .args(line.split_whitespace())
        .env_clear()
        .env("HOME", "/nonexistent/home")
        .env("TZ", "UTC")
        .env("KUBEFWD_SOCKET", socket)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a command line to its end.
pub(crate) async fn run(socket: &Path, line: &str) -> Outcome {
    finish(socket, command(socket, line)).await
}

/// Runs a command to its end.
pub(crate) async fn finish(socket: &Path, mut command: Command) -> Outcome {
    let output = command.output().await.unwrap();
    Outcome {
        code: output.status.code(),
        stdout: neutral(socket, &output.stdout),
        stderr: neutral(socket, &output.stderr),
    }
}

/// Paths and commands that differ from machine to machine.
fn neutral(socket: &Path, bytes: &[u8]) -> String {
    let mut text = String::from_utf8(bytes.to_vec()).unwrap();
    text = text.replace(&socket.display().to_string(), "SOCKET");
    text = text.replace(&socket.parent().unwrap().display().to_string(), "DIRECTORY");
    for start in [
        "sudo systemctl start kubefwdd",
        "sudo launchctl bootstrap system /Library/LaunchDaemons/dev.kubefwd.kubefwdd.plist",
        "sudo kubefwdd",
    ] {
        text = text.replace(start, "START");
    }
    text
}

/// A program that goes on until something ends it.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a command line.
    pub(crate) fn start(socket: &Path, line: &str) -> Self {
        let mut child = command(socket, line).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// Waits for its next line.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).await.unwrap();
        line
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self
            .child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Stops reading what it prints.
    pub(crate) fn close_stdout(self) -> Child {
        self.child
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Outcome {
        let mut stdout = String::new();
        let mut stderr = String::new();
        let mut errors = self.child.stderr.take().unwrap();
        let (out, err) = tokio::join!(
            self.stdout.read_to_string(&mut stdout),
            errors.read_to_string(&mut stderr)
        );
        out.and(err).unwrap();
        Outcome {
            code: self.child.wait().await.unwrap().code(),
            stdout,
            stderr,
        }
    }
}
