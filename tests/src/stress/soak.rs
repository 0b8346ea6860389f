//! Hours of ordinary trouble: services that come and go, rollouts, API servers that restart, credentials that expire, a
//! machine that sleeps; connections all the while, every byte of them checked.
//!
//! Nothing may leak: the run begins and ends with the same content and no connection, and what the daemon and its worker
//! hold then is compared; in between, the second quarter is compared with the last. See [`samples`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::block::Hosts;
use super::traffic::{Tally, exchange};
use super::{Over, converges, kernel};
use crate::harness::{Options, PATIENCE, Sandbox, System};
use crate::{Behaviour, Cluster, Namespace, Service, ServicePort, Workload};

pub mod samples;
mod trouble;

use samples::{Comparison, Rest, Samples};
use trouble::{Credentials, Trouble};

const PORT: u16 = 7000;
/// Services of one namespace, as far as they reach.
const PER_NAMESPACE: usize = 250;
/// Threads that make connections.
const CLIENTS: u64 = 8;
/// The longest that a connection may wait: longer than any trouble lasts.
const LONG: Duration = Duration::from_secs(30);

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides everything that is not left to the machine.
    pub seed: u64,
    /// How long there is trouble.
    pub time: Duration,
    /// Services, all in all.
    pub services: usize,
    /// New connections each second.
    pub connections: u64,
    /// Where every sample is written as a line.
    pub csv: Option<PathBuf>,
}

/// What was seen.
#[derive(Debug)]
pub struct Figures {
    plan: Plan,
    tally: Arc<Tally>,
    happened: BTreeMap<&'static str, u64>,
    comparison: Comparison,
    before: Rest,
    after: Rest,
}

/// Runs a soak to its end, in the namespaces that the sandbox is in.
///
/// # Panics
/// When bytes were wrong, something does not recover, or something leaks.
pub async fn run(sandbox: &Sandbox, plan: Plan) -> Figures {
    let mut soak = Soak::start(sandbox, &plan).await;
    let before = soak.rest();
    let mut samples = Samples::new(plan.csv.as_deref());
    soak.trouble_and_traffic(&plan, &mut samples);
    let after = soak.rest();
    let wrong = Tally::read(&soak.tally.wrong);
    assert_eq!(wrong, 0, "connections with wrong bytes, seed {}", plan.seed);
    let figures = Figures {
        comparison: samples.compare(),
        tally: soak.tally.clone(),
        happened: std::mem::take(&mut soak.trouble.happened),
        before,
        after,
        plan,
    };
    figures.assert_flat();
    soak.system.stop_daemon();
    figures
}

struct Soak {
    system: System,
    hosts: PathBuf,
    trouble: Trouble,
    tally: Arc<Tally>,
    rng: StdRng,
}

impl Soak {
    async fn start(sandbox: &Sandbox, plan: &Plan) -> Self {
        let mut namespaces = Vec::new();
        let mut left = plan.services.max(1);
        let mut cluster = Cluster::builder();
        while left > 0 {
            let services = left.min(PER_NAMESPACE);
            let name = format!("m{}", namespaces.len());
            cluster = cluster.namespace(namespace(&name, services));
            namespaces.push((name, services));
            left -= services;
        }
        let cluster = cluster.start().await;
        let cluster = Arc::new(cluster.expect("the simulated cluster starts"));
        let credentials = Credentials::new(sandbox, &cluster);
        let kubeconfig = cluster.kubeconfig_with(credentials.kind());
        let hosts = sandbox.path("hosts");
        std::fs::write(&hosts, "127.0.0.1 localhost\n").expect("the sandbox is writable");
        let options = Options {
            hosts_file: Some(hosts.clone()),
            ..Options::default()
        };
        let system = System::start_with(sandbox, &kubeconfig.yaml(), options);
        for (name, _) in &namespaces {
            let _said = system.ctl(&["ns", "add", name, "--wait=5m"]).ok();
        }
        Self {
            system,
            hosts,
            trouble: Trouble::new(cluster, credentials, namespaces),
            tally: Arc::default(),
            rng: StdRng::seed_from_u64(plan.seed),
        }
    }

    /// The same content as in the beginning, and no connection: what is held then.
    fn rest(&mut self) -> Rest {
        let wanted = self.trouble.restore();
        converges("all services are forwarded again", || {
            let addresses = self.addresses();
            let names = addresses.len();
            if names != wanted {
                return Err(format!("{names} services of {wanted}"));
            }
            let found = kernel::listeners();
            let listening = found.iter().filter(|socket| socket.port() == PORT).count();
            match listening == wanted {
                true => Ok(()),
                false => Err(format!("{listening} listeners for {wanted} services")),
            }
        });
        let name = format!("s0.{}", self.trouble.namespaces[0].0);
        converges("the cluster is reached again", || {
            let to = (self.addresses()[&name], PORT);
            exchange(to.into(), 4096, LONG).map_err(|error| error.to_string())
        });
        let (daemon, worker) = (self.system.daemon_pid(), self.worker());
        Rest::settled(daemon, worker)
    }

    fn worker(&self) -> u32 {
        let workers = self.system.workers();
        assert_eq!(workers.len(), 1, "one user has one worker");
        workers[0]
    }

    /// The addresses of all services, by their names with the namespace.
    fn addresses(&self) -> BTreeMap<String, Ipv4Addr> {
        let content = std::fs::read(&self.hosts).expect("the hosts file is there at all times");
        let hosts = Hosts::parse(&content);
        let hosts = hosts.unwrap_or_else(|wrong| panic!("the hosts file: {wrong}"));
        let names = hosts.names.into_iter();
        names
            .filter(|(name, _)| name.split('.').count() == 2)
            .collect()
    }

    fn trouble_and_traffic(&mut self, plan: &Plan, samples: &mut Samples) {
        let end = Instant::now() + plan.time;
        let over = Over::default();
        let targets = Mutex::new(Vec::from_iter(self.addresses().into_values()));
        let due = AtomicU64::new(0);
        let (daemon, worker) = (self.system.daemon_pid(), self.worker());
        let seeds: Vec<u64> = (0..CLIENTS).map(|_| self.rng.random()).collect();
        std::thread::scope(|scope| {
            for seed in seeds {
                let (tally, targets, due, over) = (&self.tally, &targets, &due, &over);
                scope.spawn(move || {
                    let pace = Pace::new(plan.connections, due);
                    connect(tally, targets, &pace, over, StdRng::seed_from_u64(seed));
                });
            }
            let _running = over.on_drop();
            while Instant::now() < end {
                let event = self.trouble.next(&mut self.rng, worker);
                let addresses = self.addresses();
                samples.take(daemon, worker, addresses.len(), &self.tally, event);
                *targets.lock().unwrap_or_else(PoisonError::into_inner) =
                    addresses.into_values().collect();
                let pause = self.rng.random_range(200..1_000);
                std::thread::sleep(Duration::from_millis(pause));
            }
        });
    }
}

fn namespace(name: &str, services: usize) -> Namespace {
    let echo = Workload::deployment("echo").replicas(2);
    let mut namespace = Namespace::new(name).workload(echo.listen("echo", PORT, Behaviour::Echo));
    for number in 0..services {
        namespace = namespace.service(service(number));
    }
    namespace
}

fn service(number: usize) -> Service {
    Service::new(format!("s{number}"))
        .selects("app", "echo")
        .port(ServicePort::tcp(PORT).target("echo"))
}

/// Spreads connections evenly over time, whoever makes them.
struct Pace<'a> {
    began: Instant,
    every: Duration,
    next: &'a AtomicU64,
}

impl<'a> Pace<'a> {
    fn new(per_second: u64, next: &'a AtomicU64) -> Self {
        let every = Duration::from_secs(1) / u32::try_from(per_second.max(1)).unwrap_or(u32::MAX);
        Self {
            began: Instant::now(),
            every,
            next,
        }
    }

    /// Waits for the time of the next connection. What could not be made in time is not made up for.
    fn wait(&self) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let every = self.every.as_nanos().max(1);
        let now = u64::try_from(self.began.elapsed().as_nanos() / every).unwrap_or(u64::MAX);
        if turn > now {
            let ahead = u32::try_from(turn - now).unwrap_or(u32::MAX);
            std::thread::sleep(self.every.saturating_mul(ahead));
        } else {
            self.next.fetch_max(now, Ordering::Relaxed);
        }
    }
}

fn connect(
    tally: &Tally,
    targets: &Mutex<Vec<Ipv4Addr>>,
    pace: &Pace<'_>,
    over: &Over,
    mut rng: StdRng,
) {
    while !over.is_over() {
        pace.wait();
        let address = {
            let targets = targets.lock().unwrap_or_else(PoisonError::into_inner);
            targets[rng.random_range(0..targets.len())]
        };
        // Most are small, as requests are, and some are long.
        let length = match rng.random_range(0..20) {
            0 => rng.random_range(1..=crate::MAX_SLICE),
            _ => rng.random_range(1..=8 * 1024),
        };
        tally.connection(
            SocketAddr::from((address, PORT)),
            length,
            PATIENCE.min(LONG),
        );
    }
}

impl Figures {
    fn assert_flat(&self) {
        let seed = self.plan.seed;
        if let Err(wrong) = self.after.is_no_more_than(&self.before) {
            panic!("seed {seed}: something leaks: {wrong}\n{self}");
        }
        if let Err(wrong) = self.comparison.is_flat() {
            panic!("seed {seed}: memory grows: {wrong}\n{self}");
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        writeln!(f, "seed                     {}", self.plan.seed)?;
        writeln!(f, "seconds of trouble       {}", self.plan.time.as_secs())?;
        writeln!(f, "services                 {}", self.plan.services)?;
        writeln!(
            f,
            "connections complete     {}",
            Tally::read(&tally.complete)
        )?;
        writeln!(f, "connections cut          {}", Tally::read(&tally.broken))?;
        writeln!(f, "connections wrong        {}", Tally::read(&tally.wrong))?;
        writeln!(f, "bytes that came back     {}", Tally::read(&tally.bytes))?;
        for (what, times) in &self.happened {
            writeln!(f, "  {what:<22} {times}")?;
        }
        writeln!(f, "{}", self.comparison)?;
        writeln!(f, "at rest before           {}", self.before)?;
        write!(f, "at rest after            {}", self.after)
    }
}
