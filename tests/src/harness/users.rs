//! Users beside root, for tests that [`run_as_root`](super::sandbox::run_as_root): who they are, and the client as them.
//! The user database is a copy in the sandbox.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::system::run;
use super::{Answer, Options, Sandbox, System, programs, sandbox};

/// Somebody with a home directory in the sandbox.
#[derive(Debug, Clone)]
pub struct User {
    /// The login name.
    pub name: &'static str,
    /// The user's number, and the number of a group of the user's own.
    pub id: u32,
}

/// In group `kubefwd`.
pub const ALICE: User = User {
    name: "alice",
    id: 64_001,
};
/// In group `kubefwd`.
pub const BOB: User = User {
    name: "bob",
    id: 64_002,
};
/// In no group but the own.
pub const MALLORY: User = User {
    name: "mallory",
    id: 64_003,
};
/// The number of group `kubefwd`.
pub const KUBEFWD_GROUP: u32 = 64_100;

/// Makes [`ALICE`], [`BOB`] and [`MALLORY`] known in this sandbox, and copies the programs to where all of them may run
/// them. Returns the options with which a daemon starts that copy of the worker.
///
/// # Panics
/// When the sandbox is not root's.
#[must_use]
pub fn create(sandbox: &Sandbox) -> Options {
    let all = [ALICE, BOB, MALLORY];
    let home = sandbox.dir().display();
    let accounts: String = all
        .iter()
        .map(|User { name, id }| format!("{name}:x:{id}:{id}::{home}/{name}:/bin/sh\n"))
        .collect();
    prepend(sandbox, "/etc/passwd", &accounts);
    let group = format!("kubefwd:x:{KUBEFWD_GROUP}:alice,bob\n");
    prepend(sandbox, "/etc/group", &group);
    for User { name, id } in all {
        let home = sandbox.path(name);
        fs::create_dir(&home).expect("the sandbox is writable");
        chown(&home, Some(id), Some(id)).expect("root gives files away");
    }
    let programs = sandbox.path("bin");
    fs::create_dir(&programs).expect("the sandbox is writable");
    for name in ["kubefwd-worker", "kubefwdctl"] {
        fs::copy(programs::find(name), programs.join(name)).expect("the program can be copied");
    }
    let worker = programs.join("kubefwd-worker").display().to_string();
    Options {
        flags: vec!["--worker".to_owned(), worker],
        ..Options::default()
    }
}

/// Adds to the user database: the first entry of a name or number counts, whoever this machine knows.
fn prepend(sandbox: &Sandbox, file: &str, lines: &str) {
    let text = fs::read_to_string(file).expect("the user database is readable");
    sandbox::replace_text(sandbox, file, &(lines.to_owned() + &text));
}

impl User {
    /// Writes a file of this user's in the sandbox.
    ///
    /// # Panics
    /// When the sandbox is not root's.
    #[must_use]
    pub fn file(&self, sandbox: &Sandbox, name: &str, content: &str, mode: u32) -> PathBuf {
        own(sandbox, name, content, self.id, mode)
    }

    /// The client as this user, with a fresh environment, not yet started.
    #[must_use]
    pub fn command(
        &self,
        sandbox: &Sandbox,
        system: &System,
        kubeconfig: &Path,
        args: &[&str],
    ) -> Command {
        let mut command = Command::new(sandbox.path("bin/kubefwdctl"));
        command
            .args(args)
            .uid(self.id)
            .gid(self.id)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", sandbox.path(self.name))
            .env("KUBECONFIG", kubeconfig)
            .env("KUBEFWD_SOCKET", system.socket());
        command
    }

    /// Runs the client as this user to its end.
    #[must_use]
    pub fn ctl(
        &self,
        sandbox: &Sandbox,
        system: &System,
        kubeconfig: &Path,
        args: &[&str],
    ) -> Answer {
        run(&mut self.command(sandbox, system, kubeconfig, args))
    }
}

/// Writes a file of a user's (0 is root) in the sandbox.
///
/// # Panics
/// When the sandbox is not root's.
#[must_use]
pub fn own(sandbox: &Sandbox, name: &str, content: &str, owner: u32, mode: u32) -> PathBuf {
    let path = sandbox.path(name);
    fs::write(&path, content).expect("the sandbox is writable");
    chown(&path, Some(owner), Some(owner)).expect("root gives files away");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("the file is there");
    path
}
