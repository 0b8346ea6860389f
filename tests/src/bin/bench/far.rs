//! The far side, in a process of its own: a simulated cluster, the same applications on plain TCP, and the networks between.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kubefwd_tests::{
    Behaviour, Cluster, Namespace, Service, ServicePort, Workload, control, serve_tcp,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::delay;
use crate::tools::App;

/// The namespace with the applications.
pub(crate) const NAMESPACE: &str = "bench";
/// The namespace with many services.
pub(crate) const MANY: &str = "many";

/// How the far side is started.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Services in the namespace `many`.
    #[arg(long)]
    services: usize,
    /// Round trips to offer, in milliseconds; 0 is the loopback interface itself.
    #[arg(long, value_delimiter = ',')]
    delays: Vec<u64>,
    /// Where kubeconfigs are written.
    #[arg(long)]
    directory: PathBuf,
}

/// What the far side says once it serves.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// The control endpoint of the cluster.
    pub(crate) control: SocketAddr,
    /// By round trip: a kubeconfig whose only context is `rN`.
    pub(crate) kubeconfigs: BTreeMap<u64, PathBuf>,
    /// By round trip: the applications on plain TCP.
    pub(crate) direct: BTreeMap<u64, BTreeMap<App, SocketAddr>>,
}

/// Serves until standard input ends.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let cluster = Arc::new(runtime.block_on(cluster(arguments.services).start())?);
    let ready = runtime.block_on(serve(&cluster, arguments))?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&ready)?)?;
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest)?;
    runtime.shutdown_background();
    Ok(())
}

fn cluster(services: usize) -> kubefwd_tests::ClusterBuilder {
    let web =
        Workload::deployment("web")
            .replicas(2)
            .listen("http", App::Http.port(), Behaviour::Http);
    let bench = applications()
        .workload(web)
        .service(Service::new("web").port(port(App::Http)));
    Cluster::builder()
        .namespace(bench)
        .namespace(Namespace::new(MANY).generate_services(services))
}

/// A namespace whose service `tools` leads to all applications, in one pod.
pub(crate) fn applications() -> Namespace {
    let mut tools = Workload::deployment("tools");
    let mut service = Service::new("tools");
    for app in App::ALL {
        tools = tools.listen(app.name(), app.port(), behaviour(app));
        service = service.port(port(app));
    }
    Namespace::new(NAMESPACE).workload(tools).service(service)
}

fn port(app: App) -> ServicePort {
    ServicePort::tcp(app.port())
        .name(app.name())
        .target(app.name())
}

fn behaviour(app: App) -> Behaviour {
    match app {
        App::Echo => Behaviour::Echo,
        App::Source => Behaviour::Source(None),
        App::Sink => Behaviour::Sink,
        App::Http => Behaviour::Http,
    }
}

async fn serve(cluster: &Arc<Cluster>, arguments: &Arguments) -> Result<Ready> {
    let mut plain = BTreeMap::new();
    for app in App::ALL {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        plain.insert(app, listener.local_addr()?);
        tokio::spawn(serve_tcp(listener, behaviour(app)));
    }
    let (mut kubeconfigs, mut direct) = (BTreeMap::new(), BTreeMap::new());
    for delay in &arguments.delays {
        let over = async |address| match *delay {
            0 => Ok(address),
            ms => delay::listen(address, Duration::from_millis(ms)).await,
        };
        let mut addresses = BTreeMap::new();
        for (app, address) in &plain {
            addresses.insert(*app, over(*address).await?);
        }
        direct.insert(*delay, addresses);
        let server = over(cluster.address()).await?;
        let path = arguments.directory.join(format!("kubeconfig-{delay}"));
        cluster
            .kubeconfig("admin")?
            .context(format!("r{delay}"))
            .server(format!("https://{server}"))
            .write(&path)?;
        kubeconfigs.insert(*delay, path);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let control = listener.local_addr()?;
    tokio::spawn(control::serve(Arc::clone(cluster), listener));
    Ok(Ready {
        control,
        kubeconfigs,
        direct,
    })
}

/// A running far side; it ends with this value.
#[derive(Debug)]
pub(crate) struct Far {
    child: Child,
    pub(crate) ready: Ready,
}

impl Far {
    /// Starts one.
    pub(crate) fn start(services: usize, delays: &[u64], directory: PathBuf) -> Result<Self> {
        let delays: Vec<_> = delays.iter().map(u64::to_string).collect();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["far", "--services", &services.to_string()])
            .args(["--delays", &delays.join(",")])
            .arg("--directory")
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the simulated cluster")?;
        let output = child.stdout.take().context("it was asked for")?;
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line)?;
        if line.is_empty() {
            bail!("the simulated cluster ended with {}", child.wait()?);
        }
        let ready = serde_json::from_str(&line).context("the simulated cluster said nonsense")?;
        Ok(Self { child, ready })
    }

    /// Asks the control endpoint; `POST` where something shall change.
    pub(crate) fn control(&self, method: &str, path: &str) -> Result<String> {
        let mut stream = std::net::TcpStream::connect(self.ready.control)?;
        write!(
            stream,
            "{method} /sim/{path} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.split(' ').nth(1) != Some("200") {
            bail!("the simulated cluster refuses {path}: {body}");
        }
        Ok(body.to_owned())
    }

    /// What the cluster has counted.
    pub(crate) fn counts(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.control("GET", "counts")?)?)
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}
