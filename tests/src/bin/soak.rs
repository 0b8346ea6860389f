//! `soak`: long runs over the real programs, in namespaces of their own, each from a seed that it prints.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use kubefwd_tests::harness::{Sandbox, sandbox};
use kubefwd_tests::stress::{crash, soak};

/// Present in the process inside; its value is the directory for everything that the run writes.
const MARK: &str = "KUBEFWD_SOAK_DIR";

/// Runs the real programs against a simulated cluster until something breaks or the time is over.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Decides what happens; printed, so that it can be given again
    #[arg(long, global = true)]
    seed: Option<u64>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Kill the daemon and its worker at random moments, and look at what is left
    Crash {
        /// How many kills
        #[arg(long, default_value_t = 2_000, value_name = "N")]
        kills: u64,
    },
    /// Ordinary trouble and checked connections for a long time; nothing may grow
    Run {
        /// How long
        #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        minutes: u64,
        /// How many services
        #[arg(long, default_value_t = 2_000, value_name = "N")]
        services: usize,
        /// New connections each second
        #[arg(long, default_value_t = 200, value_name = "N")]
        connections: u64,
        /// Write every sample to this file
        #[arg(long, value_name = "PATH")]
        csv: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            // Nobody else could be told if this fails.
            let _unreported = writeln!(std::io::stderr(), "soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let Some(directory) = std::env::var_os(MARK).map(PathBuf::from) else {
        let seed = arguments.seed.unwrap_or_else(rand::random);
        return enter(seed);
    };
    let seed = arguments.seed.context("the outer process gives a seed")?;
    sandbox::prepare(&directory);
    raise_descriptor_limit()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let sandbox = Sandbox::at(&directory);
    let figures = match arguments.what {
        What::Crash { kills } => {
            let plan = crash::Plan { seed, kills };
            let mut said = 0;
            let progress = |figures: &crash::Figures| {
                if figures.kills() / 100 > said {
                    said = figures.kills() / 100;
                    // The figures in the end say it too.
                    let _unprinted = writeln!(std::io::stdout(), "{} kills", figures.kills());
                }
            };
            let run = crash::run(&sandbox, plan, progress);
            runtime.block_on(run).to_string()
        }
        What::Run {
            minutes,
            services,
            connections,
            csv,
        } => {
            let plan = soak::Plan {
                seed,
                time: Duration::from_secs(minutes * 60),
                services,
                connections,
                csv,
            };
            runtime.block_on(soak::run(&sandbox, plan)).to_string()
        }
    };
    writeln!(std::io::stdout(), "{figures}")?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the program again in namespaces of its own, and returns its exit code.
fn enter(seed: u64) -> Result<ExitCode> {
    writeln!(std::io::stdout(), "seed {seed}")?;
    let temp = tempfile::Builder::new()
        .prefix("kubefwd-soak")
        .tempdir()
        .context("cannot make a temporary directory")?;
    sandbox::open_to_all(temp.path());
    let own = std::env::current_exe().context("the program does not know its own path")?;
    let mut command: Command = sandbox::unshare();
    let status = command
        .arg(own)
        .args(std::env::args_os().skip(1))
        .args(given_seed(seed))
        .env("HOME", temp.path())
        .env(MARK, temp.path())
        .status()
        .context("cannot run unshare (package util-linux)")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The seed for the process inside, where it is not on the command line already.
fn given_seed(seed: u64) -> Vec<String> {
    let is_given = std::env::args().any(|arg| arg.starts_with("--seed"));
    match is_given {
        true => Vec::new(),
        false => vec!["--seed".to_owned(), seed.to_string()],
    }
}

/// Thousands of services and connections, here and in everything that is started from here.
fn raise_descriptor_limit() -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of open files")
}
