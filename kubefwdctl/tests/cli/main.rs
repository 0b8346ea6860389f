//! The real program against a daemon that follows a script: what is asked, what is printed, how it ends.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test that calls them"
)]

mod adding;
mod asking;
mod failing;
mod fake;
mod following;
mod help;
mod program;
mod samples;
