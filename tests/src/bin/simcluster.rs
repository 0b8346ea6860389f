//! `simcluster`: a simulated Kubernetes cluster for demonstrations and for tests in other processes.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Parser;
use kubefwd_tests::{control, demo};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A simulated Kubernetes cluster with services to try a forwarder on.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to write the kubeconfig (context `sim`).
    #[arg(long, value_name = "PATH")]
    kubeconfig: PathBuf,
    /// Whom the kubeconfig is for: admin, system:serviceaccount:demo:viewer or nobody-user.
    #[arg(long, default_value = "admin")]
    user: String,
    /// The context's name.
    #[arg(long, default_value = "sim")]
    context: String,
    /// Where the API server listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Adds a namespace `many` with so many generated services.
    #[arg(long, value_name = "N", default_value_t = 0)]
    services: usize,
    /// Where the control endpoint listens (plain HTTP; see the documentation of the `control` module).
    #[arg(long, value_name = "ADDR")]
    control: Option<SocketAddr>,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => Err(error).context("cannot start the runtime"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody else could be told if this fails.
            let _unreported = writeln!(std::io::stderr(), "simcluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let cluster = demo::cluster(arguments.services)
        .address(arguments.listen)
        .start()
        .await?;
    let path = &arguments.kubeconfig;
    cluster
        .kubeconfig(&arguments.user)?
        .context(&arguments.context)
        .write(path)
        .with_context(|| format!("cannot write the kubeconfig {}", path.display()))?;
    let cluster = Arc::new(cluster);
    let mut ready = format!("ready url={} kubeconfig={}", cluster.url(), path.display());
    let control = match arguments.control {
        None => None,
        Some(address) => {
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("the control endpoint cannot listen on {address}"))?;
            ready += &format!(" control=http://{}", listener.local_addr()?);
            Some(tokio::spawn(control::serve(Arc::clone(&cluster), listener)))
        }
    };
    writeln!(std::io::stdout(), "{ready}").context("cannot print the ready line")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    if let Some(control) = control {
        control.abort();
    }
    cluster.stop_api_server().await;
    Ok(())
}
