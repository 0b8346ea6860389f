//! `bench`: what a forwarded connection costs, ours beside real `kubectl port-forward` and direct TCP, in one run.
//!
//! The machine's own network is left alone: the program starts itself again in namespaces of its own, with a simulated
//! cluster in a process beside it. Against a real cluster it stays on that network, with a hosts file of its own. `docs/benchmarks.md` says how to read the table.

mod delay;
mod far;
mod kubectl;
mod load;
mod measure;
mod namespaces;
mod place;
mod process;
mod report;
mod stats;
mod tools;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use measure::Group;

/// Compares kubefwd with `kubectl port-forward` and with direct TCP.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// Measure only these [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "GROUP")]
    only: Vec<Group>,
    /// Rounds of everything that is compared; the table shows medians
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Connections of the integrity run
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    connections: u32,
    /// Exit with 1 where a target is missed
    #[arg(long)]
    strict: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The simulated cluster, beside the bench.
    #[command(hide = true)]
    Far(far::Arguments),
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            // Nobody else could be told if this fails.
            let _unreported = writeln!(std::io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Role::Far(far)) = &arguments.role {
        far::run(far)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(directory) = namespaces::directory() else {
        return namespaces::enter();
    };
    namespaces::prepare(&directory);
    process::raise_descriptor_limit()?;
    let mut rows = Vec::new();
    let measured = measure::all(&arguments, &directory, &mut rows);
    report::print(&rows)?;
    measured?;
    let missed = rows.iter().filter(|row| !row.reached()).count();
    Ok(match (arguments.strict, missed) {
        (true, 1..) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}
