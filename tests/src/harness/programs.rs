//! The programs under test: where the build put them, beside the test's own binary.

use std::path::PathBuf;

/// The path of one of the workspace's programs.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn find(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the running test has a path");
    // target/debug/deps/blackbox-0123: the programs are one directory up.
    let directory = own.parent().and_then(|deps| deps.parent());
    let directory = directory.expect("cargo puts test binaries two directories deep");
    let path = directory.join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `make test`, or `cargo build --workspace --bins` first",
        path.display()
    );
    path
}
