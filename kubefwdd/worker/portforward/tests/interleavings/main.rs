//! What threads share on the data path, in every order in which they can run and with every value that they may see.
//!
//! The sources are the worker's own. Only `sync` is another: [loom](https://docs.rs/loom) runs each model again and again,
//! and each time lets the threads meet in another way, old values that a processor may still show included.

#![expect(dead_code, reason = "the sources have more than the models need")]
#![expect(unreachable_pub, reason = "what is public there is not public here")]

mod connection;
mod counters;
mod sync;

/// Runs a model in all interleavings in which no thread is interrupted more than a few times.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}
