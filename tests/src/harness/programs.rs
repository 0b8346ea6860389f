//! The programs under test: where the build put them, beside the test's own binary or one directory up.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The path of one of the workspace's programs.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn find(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the running test has a path");
    // target/debug/deps/blackbox-0123, or target/release/bench.
    let directory = own.parent().expect("a program lies in a directory");
    let directory = match directory.file_name() {
        Some(name) if name == "deps" => directory.parent().unwrap_or(directory),
        _ => directory,
    };
    let path = directory.join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `make test`, or `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

/// A worker that says hello with protocol 99 and then only reads; the path of its program, in this directory.
///
/// # Panics
/// When the directory is not writable.
#[must_use]
pub fn worker_of_another_version(directory: &Path) -> String {
    // Length, no descriptor, and the message.
    const HELLO: &str = r"\004\000\000\000\000\012\002\010\143";
    let script = format!("#!/bin/sh\nprintf '{HELLO}' >&3\nexec cat <&3 >/dev/null\n");
    let program = directory.join("other-worker");
    fs::write(&program, script).expect("the sandbox is writable");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&program, mode).expect("the file is ours");
    program.display().to_string()
}
