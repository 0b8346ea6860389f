//! A test in namespaces of its own.
//!
//! Namespaces can only be entered before threads exist, and a test runs in a thread. So the test binary starts itself
//! again below `unshare`, for this one test; the second process runs the body.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};

/// Present in the second process; its value is the sandbox's directory.
const MARK: &str = "KUBEFWD_TEST_SANDBOX";
/// The second process writes it when the body has run: a filter that matches no test would succeed too.
const DONE: &str = "body-has-run";

/// Where a test runs.
#[derive(Debug)]
pub struct Sandbox {
    dir: PathBuf,
}

impl Sandbox {
    /// A directory of the test's own, which every user can enter.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path in [`Self::dir`].
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Runs a test in a sandbox, or says why it is skipped.
///
/// # Panics
/// When the body does, or namespaces cannot be made.
pub fn run<F: Future<Output = ()>, B: FnOnce(Sandbox) -> F>(body: B) {
    let name = test_name::<B>();
    if let Some(dir) = std::env::var_os(MARK) {
        return inside(Path::new(&dir), body);
    }
    if std::env::var_os("KUBEFWD_TEST_KUBECONFIG").is_some() {
        return skip(
            name,
            "it needs the simulated cluster, and a real one is named",
        );
    }
    outside(name);
}

/// The path of the test function: the type of a closure begins with the path of the function it is written in.
fn test_name<B>() -> &'static str {
    let path = std::any::type_name::<B>();
    let path = path.split_once("::").map_or(path, |(_, rest)| rest);
    path.split("::{{closure}}").next().unwrap_or(path)
}

#[expect(clippy::print_stderr, reason = "a skipped test says so by name")]
fn skip(name: &str, why: &str) {
    eprintln!("skipped: {name}: {why}");
}

fn outside(name: &str) {
    let is_root = nix::unistd::geteuid().is_root();
    let temp = tempfile::Builder::new().prefix("kfw").tempdir();
    let temp = temp.expect("a temporary directory can be made");
    open_to_all(temp.path());
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--propagation", "private"]);
    if !is_root {
        command.args(["--user", "--map-root-user"]);
    }
    let status = command
        .arg(std::env::current_exe().expect("the running test has a path"))
        .args(["--exact", name, "--nocapture", "--include-ignored"])
        .env(MARK, temp.path())
        .env("HOME", temp.path())
        .status()
        .unwrap_or_else(|error| panic!("cannot run unshare (package util-linux): {error}"));
    assert!(status.success(), "{name} failed in its sandbox: {status}");
    assert!(
        temp.path().join(DONE).exists(),
        "the body of {name} has not run: is the closure written in the test function itself?"
    );
}

fn inside<F: Future<Output = ()>>(dir: &Path, body: impl FnOnce(Sandbox) -> F) {
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    let up = up.expect("`ip` (package iproute2) brings the loopback interface up");
    assert!(up.success(), "cannot bring the loopback interface up: {up}");
    replace_file(Path::new("/etc/hosts"), &dir.join("etc-hosts"));
    // Nobody answers on port 53 of the sandbox, and says so at once; the machine's own server would be waited for.
    let resolver = dir.join("resolv.conf");
    std::fs::write(&resolver, "nameserver 127.0.0.1\n").expect("the sandbox is writable");
    if Path::new("/etc/resolv.conf").exists() {
        bind(&resolver, Path::new("/etc/resolv.conf"));
    }
    let sandbox = Sandbox {
        dir: dir.to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be started");
    runtime.block_on(body(sandbox));
    std::fs::write(dir.join(DONE), "").expect("the sandbox's directory is writable");
}

/// Lets a copy of a system file stand in its place, for this test alone.
fn replace_file(original: &Path, copy: &Path) {
    std::fs::copy(original, copy).expect("the file can be copied");
    bind(copy, original);
}

/// Lets another text stand in a system file's place, for this test alone.
///
/// # Panics
/// When that cannot be done.
pub fn replace_text(sandbox: &Sandbox, original: &str, text: &str) {
    let copy = sandbox.path(&original.replace('/', "_"));
    std::fs::write(&copy, text).expect("the sandbox is writable");
    bind(&copy, Path::new(original));
}

fn bind(source: &Path, place: &Path) {
    let none: Option<&str> = None;
    mount(Some(source), place, none, MsFlags::MS_BIND, none)
        .unwrap_or_else(|error| panic!("cannot bind a file over {}: {error}", place.display()));
}

fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir, mode).expect("the directory is ours");
}
