//! A test in namespaces of its own.
//!
//! Namespaces can only be entered before threads exist, and a test runs in a thread. So the test binary starts itself
//! again below `unshare`, for this one test; the second process runs the body.
//!
//! Against a real cluster ([`is_real`]) the network is the machine's, because that leads to the cluster; such tests need
//! root and run one at a time, whatever starts them.

use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};

/// Names the kubeconfig of a real cluster to test against; see `tests/README.md`.
pub const REAL_KUBECONFIG: &str = "KUBEFWD_TEST_KUBECONFIG";

/// Present in the second process; its value is the sandbox's directory. Without it a test begins from the start.
pub const MARK: &str = "KUBEFWD_TEST_SANDBOX";
/// The second process writes it when the body has run: a filter that matches no test would succeed too.
const DONE: &str = "body-has-run";

/// Where a test runs.
#[derive(Debug)]
pub struct Sandbox {
    dir: PathBuf,
}

impl Sandbox {
    /// A sandbox of the caller's making, with this directory.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

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

/// Whether a real cluster is named.
#[must_use]
pub fn is_real() -> bool {
    std::env::var_os(REAL_KUBECONFIG).is_some()
}

/// Runs a test that needs the simulated cluster, or says why it is skipped.
///
/// # Panics
/// When the body does, or namespaces cannot be made.
pub fn run<F: Future<Output = ()>, B: FnOnce(Sandbox) -> F>(body: B) {
    if is_real() {
        return skip(
            test_name::<B>(),
            "it needs the simulated cluster, and a real one is named",
        );
    }
    run_anywhere(body);
}

/// Runs a test that any cluster will do for: its body uses a [`Target`](super::Target) and no faults.
///
/// # Panics
/// When the body does, or namespaces cannot be made.
pub fn run_anywhere<F: Future<Output = ()>, B: FnOnce(Sandbox) -> F>(body: B) {
    match std::env::var_os(MARK) {
        Some(dir) => inside(Path::new(&dir), body),
        None => outside(test_name::<B>()),
    }
}

/// Runs a test that needs the simulated cluster and more than one user, or says why it is skipped.
///
/// # Panics
/// When the body does, or namespaces cannot be made.
pub fn run_as_root<F: Future<Output = ()>, B: FnOnce(Sandbox) -> F>(body: B) {
    if !nix::unistd::geteuid().is_root() {
        return skip(
            test_name::<B>(),
            "it needs more than one user, which takes root",
        );
    }
    run(body);
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
    let temp = tempfile::Builder::new().prefix("kfw").tempdir();
    let temp = temp.expect("a temporary directory can be made");
    open_to_all(temp.path());
    let _alone = is_real().then(wait_for_turn);
    let mut command = unshare();
    if !is_real() {
        command.env("HOME", temp.path());
    }
    let status = command
        .arg(std::env::current_exe().expect("the running test has a path"))
        .args(["--exact", name, "--nocapture", "--include-ignored"])
        .env(MARK, temp.path())
        .status()
        .unwrap_or_else(|error| panic!("cannot run unshare (package util-linux): {error}"));
    assert!(status.success(), "{name} failed in its sandbox: {status}");
    assert!(
        temp.path().join(DONE).exists(),
        "the body of {name} has not run: is the closure written in the test function itself?"
    );
}

/// Names and ports are the same in all tests, and on the machine's own network they would meet. The lock is on the folder
/// of the test programs, which needs no file of its own.
fn wait_for_turn() -> Flock<File> {
    let own = std::env::current_exe().expect("the running test has a path");
    let folder = own.parent().expect("a program is in a folder");
    let file = File::open(folder).expect("the folder of a running program can be opened");
    Flock::lock(file, FlockArg::LockExclusive)
        .unwrap_or_else(|(_, error)| panic!("cannot lock {}: {error}", folder.display()))
}

/// A command line that runs the program named next in namespaces of its own; [`prepare`] is for that program.
///
/// # Panics
/// Against a real cluster without root.
#[must_use]
pub fn unshare() -> Command {
    let is_root = nix::unistd::geteuid().is_root();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    if is_real() {
        assert!(
            is_root,
            "against a real cluster this has to run as root: it shares the machine's network"
        );
        return command;
    }
    command.arg("--net");
    if !is_root {
        command.args(["--user", "--map-root-user"]);
    }
    command
}

fn inside<F: Future<Output = ()>>(dir: &Path, body: impl FnOnce(Sandbox) -> F) {
    prepare(dir);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be started");
    runtime.block_on(body(Sandbox::at(dir)));
    std::fs::write(dir.join(DONE), "").expect("the sandbox's directory is writable");
}

/// Makes new namespaces fit to work in: the loopback interface is up, and copies in `dir` stand for the hosts file and the
/// list of groups. What an installed product has put there is left out, so that tests find the same on every machine.
///
/// # Panics
/// When the process is not in namespaces of its own.
pub fn prepare(dir: &Path) {
    replace_file("/etc/hosts", dir, |text| keep_lines(&text, is_foreign));
    replace_file("/etc/group", dir, |text| {
        keep_lines(&text, |line| !line.starts_with(b"kubefwd:"))
    });
    // Files are asked, by the C library itself: another source would not see these copies.
    replace_file("/etc/nsswitch.conf", dir, from_files);
    if !is_real() {
        isolate_network(dir);
    }
}

/// Whether a line of the hosts file is not the product's.
fn is_foreign(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    !(line.starts_with(b"# kubefwd ") || line.ends_with(b"\t# kubefwd"))
}

fn keep_lines(text: &[u8], is_kept: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    lines
        .filter(|line| is_kept(line))
        .flatten()
        .copied()
        .collect()
}

fn isolate_network(dir: &Path) {
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    let up = up.expect("`ip` (package iproute2) brings the loopback interface up");
    assert!(up.success(), "cannot bring the loopback interface up: {up}");
    // Nobody answers on port 53 of the sandbox, and says so at once; the machine's own server would be waited for.
    replace_file("/etc/resolv.conf", dir, |_| {
        b"nameserver 127.0.0.1\n".to_vec()
    });
}

/// Lets another text stand in a system file's place, for this test alone.
///
/// # Panics
/// When that cannot be done.
pub fn replace_text(sandbox: &Sandbox, original: &str, text: &str) {
    let copy = sandbox.path(&original.replace('/', "_"));
    std::fs::write(&copy, text).expect("the sandbox is writable");
    bind_over(&copy, Path::new(original));
}

fn from_files(text: Vec<u8>) -> Vec<u8> {
    let replaced: [&[u8]; 3] = [b"hosts:", b"passwd:", b"group:"];
    let mut kept = keep_lines(&text, |line| {
        !replaced.iter().any(|database| line.starts_with(database))
    });
    kept.extend(b"\nhosts: files dns\npasswd: files\ngroup: files\n");
    kept
}

/// Lets a changed copy of a system file stand in its place, for this test alone.
fn replace_file(path: &str, dir: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let original = Path::new(path);
    if !original.exists() {
        return;
    }
    let copy = dir.join(path.trim_start_matches('/').replace('/', "-"));
    let text = std::fs::read(original).expect("everyone may read these files");
    std::fs::write(&copy, change(text)).expect("the sandbox is writable");
    bind_over(&copy, original);
}

/// Puts a file in the place of another, for this test alone.
///
/// # Panics
/// When one of them does not exist.
pub fn bind_over(source: &Path, place: &Path) {
    let none: Option<&str> = None;
    mount(Some(source), place, none, MsFlags::MS_BIND, none)
        .unwrap_or_else(|error| panic!("cannot bind a file over {}: {error}", place.display()));
}

/// Makes a file read-only for root too, as on a read-only file system; reading goes on.
///
/// # Panics
/// When it does not exist.
pub fn make_read_only(path: &Path) {
    bind_over(path, path);
    let none: Option<&Path> = None;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(none, path, none, flags, none)
        .unwrap_or_else(|error| panic!("cannot make {} read-only: {error}", path.display()));
}

/// Lets every user enter the directory: workers run as users.
///
/// # Panics
/// When it belongs to somebody else.
pub fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir, mode).expect("the directory is ours");
}
