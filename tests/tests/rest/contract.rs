//! Every public answer of a rich scene, compared with the files under `tests/fixtures/contract`: REST, the client's JSON
//! and YAML, and the control protocol. What is meant to change is recorded again with `UPDATE_CONTRACT=1`.

mod client;
mod cluster;
mod control;
mod http;
mod mask;
mod questions;
mod recording;
mod scene;

use kubefwd_tests::harness::sandbox::run;

use mask::Mask;
use recording::Recording;

#[test]
fn public_answers_are_as_recorded() {
    run(async |sandbox| {
        let scene = scene::start(&sandbox).await;
        let mut recording = Recording::new(Mask::new(&sandbox));
        // Reading first: changes leave events, log lines and connections behind.
        http::read(&scene, &mut recording);
        client::read(&scene, &mut recording);
        let mut control = control::connect(&scene).await;
        control::read(&mut control, &mut recording).await;
        http::change(&scene, &mut recording);
        client::change(&scene, &mut recording);
        control::change(&scene, &mut control, &mut recording).await;
        recording.check();
    });
}
