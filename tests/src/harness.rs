//! What the black-box suite stands on: each test in namespaces of its own, with the real programs beside it.
//!
//! [`sandbox::run`] starts the test again in a process whose network, mounts and (without root) users are its own: ports
//! below 1024, `127/8` and `/etc/hosts` then belong to the test alone, and tests run side by side. [`System`] is the
//! daemon under test with everything that people do to it, [`Target`] the cluster it forwards from: a simulated one of the
//! test's own, or a real one that was named. [`http`] asks servers, [`users`] are people beside root.
//!
//! Nothing here belongs to the product. A failure is a panic that says what was expected and what was found.

pub mod answer;
pub mod http;
pub mod keyring;
pub(crate) mod manifest;
pub mod net;
pub mod programs;
pub mod sandbox;
pub mod system;
pub mod target;
pub mod users;

pub use answer::Answer;
pub use sandbox::Sandbox;
pub use system::{Options, System};
pub use target::Target;

use std::time::{Duration, Instant};

/// How long anything may take that should happen at all: several of the worker's longest pauses between attempts. Nothing
/// is said about how fast it should be.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Looks again until `look` finds something, for what no event announces to the outside.
///
/// # Panics
/// When [`PATIENCE`] has passed.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "this never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
