//! The programs under test: where the build put them, beside the test's own binary or one directory up.

use std::path::PathBuf;

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
