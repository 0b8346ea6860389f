//! What is measured, in the order of the table.

mod beside;
mod capture;
mod first_byte;
mod integrity;
mod memory;
mod requests;
mod rest;
mod rollouts;
mod throughput;

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;
use kubefwd_tests::harness::sandbox;

use crate::Arguments;
use crate::place::Place;
use crate::report::{self, Row};
use crate::stats::median;
use crate::tools::{Kind, Tool};

/// Measures that are made together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Group {
    /// From a new connection to the first byte
    FirstByte,
    /// Small requests per second
    Requests,
    /// Bytes per second, and processor time per byte
    Throughput,
    /// Small requests beside a bulk transfer
    Beside,
    /// Pods that are replaced or killed under load
    Rollouts,
    /// Whether every byte arrives
    Integrity,
    // These have daemons of their own, once the others' has ended.
    /// Memory, and connections to the API server
    Memory,
    /// What capturing HTTP costs
    Capture,
    /// How fast REST answers with very many services
    Rest,
}

/// Makes the chosen measures; those that were made before one failed are in `rows`, too.
pub(crate) fn all(arguments: &Arguments, directory: &Path, rows: &mut Vec<Row>) -> Result<()> {
    let wanted = |group: &Group| arguments.only.is_empty() || arguments.only.contains(group);
    let groups: Vec<_> = Group::value_variants()
        .iter()
        .copied()
        .filter(wanted)
        .collect();
    report::progress(&report::circumstances(arguments.rounds)?);
    let mut place = None;
    for group in groups {
        if sandbox::is_real() && group.needs_simulation() {
            report::progress(&format!("{group:?} needs the simulated cluster: left out"));
            continue;
        }
        report::progress(&format!("{group:?}"));
        if group == Group::Memory {
            // It needs daemons of its own, and their addresses.
            place = None;
            rows.extend(memory::measure(directory)?);
            continue;
        }
        if group == Group::Capture {
            place = None;
            rows.extend(capture::measure(directory, arguments.rounds)?);
            continue;
        }
        if group == Group::Rest {
            place = None;
            rows.extend(rest::measure(directory, arguments.rounds)?);
            continue;
        }
        let place = match &mut place {
            Some(place) => place,
            None => place.insert(Place::start(directory)?),
        };
        let more = match group {
            Group::FirstByte => first_byte::measure(place, arguments.rounds),
            Group::Requests => requests::measure(place, arguments.rounds),
            Group::Throughput => throughput::measure(place, arguments.rounds),
            Group::Beside => beside::measure(place, arguments.rounds),
            Group::Memory | Group::Capture | Group::Rest => Ok(Vec::new()),
            Group::Rollouts => rollouts::measure(place, arguments.rounds),
            Group::Integrity => integrity::measure(place, arguments.connections),
        };
        rows.extend(more.with_context(|| format!("{group:?}"))?);
    }
    Ok(())
}

impl Group {
    fn needs_simulation(self) -> bool {
        matches!(
            self,
            Self::Memory | Self::Capture | Self::Rest | Self::Rollouts | Self::Integrity
        )
    }
}

/// One number of every tool.
type Values = Vec<(Kind, f64)>;

/// Runs the same with every tool, round after round in changing order, and returns the medians of each number it gives.
fn compare<const N: usize>(
    place: &mut Place,
    delay: u64,
    rounds: u16,
    mut once: impl FnMut(&mut Tool) -> Result<[f64; N]>,
) -> Result<[Values; N]> {
    const TRIES: usize = 3;
    let mut samples = vec![[const { Vec::new() }; N]; Kind::ALL.len()];
    for round in 0..usize::from(rounds) {
        for turn in 0..Kind::ALL.len() {
            let number = (round + turn) % Kind::ALL.len();
            let kind = Kind::ALL[number];
            place.quiet()?;
            let Some(tool) = place.tool(delay, kind) else {
                continue;
            };
            let mut result = once(tool);
            // kubectl gives up now and then; ours has one try.
            for _ in 1..TRIES {
                if let Err(error) = &result
                    && kind != Kind::Ours
                {
                    report::progress(&format!("{kind:?} failed and is tried again: {error:#}"));
                    result = once(tool);
                }
            }
            match result {
                Ok(values) => {
                    for (samples, value) in samples[number].iter_mut().zip(values) {
                        samples.push(value);
                    }
                }
                Err(error) if kind == Kind::Ours => return Err(error.context("ours failed")),
                Err(error) => {
                    report::progress(&format!("{kind:?} is left out of a round: {error:#}"))
                }
            }
        }
    }
    Ok(std::array::from_fn(|number| {
        let of = |kind: Kind| (kind, median(&samples[kind as usize][number]));
        Kind::ALL.map(of).to_vec()
    }))
}
