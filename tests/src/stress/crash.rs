//! Kills the daemon and its worker at random moments, under changes and traffic, and looks at what they leave behind.
//!
//! After each kill of the daemon: every byte of the hosts file that is not the daemon's is as it was, its block is whole
//! or absent, and no worker and no listener is left. After the next start: everything that was asked for and nothing else
//! is there, under its name and with its address, and nothing of an interrupted write lies about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::block::Hosts;
use super::kernel;
use super::traffic::{Tally, exchange};
use super::{Over, converges};
use crate::harness::system::signal;
use crate::harness::{Options, PATIENCE, Sandbox, System};
use crate::{Cluster, pods::pattern::MAX_SLICE};

mod wishes;

use wishes::{PORT, STEADY, Wishes};

/// Outside of 127/8, so that every address is an alias of the loopback interface, which a crash could leave. A connection
/// waits as long as a worker may need to start on a busy machine.
const CONFIG: &str = "[addresses]
range = \"10.99.0.0/16\"
[forwarding]
no_backend_wait = 60.0
";
const FOREIGN: &[u8] =
    b"127.0.0.1\tlocalhost\n# by hand\r\n10.1.1.1  printer Printer # \xff\xfe\n\n";

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Decides everything that is not left to the machine.
    pub seed: u64,
    /// Ends after so many kills.
    pub kills: u64,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Figures {
    seed: u64,
    /// Kills of a daemon that ran.
    pub running: u64,
    /// Kills of a daemon that was starting.
    pub starting: u64,
    /// Kills of a daemon that had been told to stop.
    pub stopping: u64,
    /// Kills of a worker.
    pub workers: u64,
    interrupted_writes: u64,
    acknowledged: u64,
    unanswered: u64,
    rounds: u64,
    tally: Arc<Tally>,
    took: Duration,
}

/// Runs until so many kills were done, in the namespaces that the sandbox is in. Each round is told to `progress`.
///
/// # Panics
/// When anything is left behind, lost or wrong.
pub async fn run(sandbox: &Sandbox, plan: Plan, mut progress: impl FnMut(&Figures)) -> Figures {
    let began = Instant::now();
    let mut round = Round::new(sandbox, plan).await;
    while round.figures.kills() < plan.kills {
        round.next();
        round.figures.took = began.elapsed();
        progress(&round.figures);
    }
    round.end();
    round.figures.took = began.elapsed();
    round.figures
}

struct Round {
    system: System,
    cluster: Arc<Cluster>,
    wishes: Wishes,
    rng: StdRng,
    hosts: PathBuf,
    state: PathBuf,
    /// What the hosts file has to have besides the block.
    foreign: Vec<u8>,
    /// Temporary files that were counted already.
    known: BTreeSet<PathBuf>,
    figures: Figures,
    runtime: tokio::runtime::Handle,
}

impl Round {
    async fn new(sandbox: &Sandbox, plan: Plan) -> Self {
        let hosts = sandbox.path("hosts");
        fs::write(&hosts, FOREIGN).expect("the sandbox is writable");
        let cluster = wishes::cluster().start().await;
        let cluster = Arc::new(cluster.expect("the simulated cluster starts"));
        let kubeconfig = cluster.kubeconfig("admin").expect("a cluster has an admin");
        let options = Options {
            hosts_file: Some(hosts.clone()),
            config: CONFIG.to_owned(),
            ..Options::default()
        };
        let system = System::start_with(sandbox, &kubeconfig.yaml(), options);
        let _said = system.ctl(&["ns", "add", STEADY, "--wait"]).ok();
        Self {
            system,
            cluster,
            wishes: Wishes::default(),
            rng: StdRng::seed_from_u64(plan.seed),
            state: sandbox.path("state"),
            known: BTreeSet::new(),
            runtime: tokio::runtime::Handle::current(),
            hosts,
            foreign: FOREIGN.to_vec(),
            figures: Figures {
                seed: plan.seed,
                ..Figures::default()
            },
        }
    }

    /// From a daemon that runs to the next one that does.
    fn next(&mut self) {
        self.figures.rounds += 1;
        if self.rng.random_bool(0.5) {
            self.kill_worker();
        }
        let after = Duration::from_millis(self.rng.random_range(0..400));
        let stops = self.rng.random_bool(0.2);
        let grace = Duration::from_millis(self.rng.random_range(0..200));
        self.under_changes(|round| {
            std::thread::sleep(after);
            if stops {
                signal(round.system.daemon_pid(), Signal::SIGTERM);
                std::thread::sleep(grace);
            }
            signal(round.system.daemon_pid(), Signal::SIGKILL);
        });
        self.system.kill_daemon();
        match stops {
            true => self.figures.stopping += 1,
            false => self.figures.running += 1,
        }
        self.nothing_is_left();
        self.others_write();
        while self.rng.random_bool(0.4) {
            self.system.spawn_daemon();
            std::thread::sleep(Duration::from_millis(self.rng.random_range(0..300)));
            self.system.kill_daemon();
            self.figures.starting += 1;
            self.nothing_is_left();
        }
        if self.rng.random_bool(0.2) {
            let _said = self.system.kubefwdd(&["cleanup"]).ok();
            let content = fs::read(&self.hosts).expect("the hosts file is readable");
            assert!(content == self.foreign, "clean-up restores the hosts file");
            assert_eq!(self.aliases(), 0, "clean-up takes addresses back");
            // What lies in the state directory is for the next start: another daemon could be writing there.
            assert!(leftovers(self.beside()).is_empty(), "{self:?}");
        }
        let left = self.leftovers();
        self.system.start_daemon();
        // Others may be there for a moment: this daemon writes too.
        let still = self.leftovers();
        assert!(left.is_disjoint(&still), "{self:?}: {left:?} stay");
        self.is_as_asked();
    }

    /// Does something while services are added and removed, pods replaced, and connections made.
    fn under_changes(&mut self, act: impl FnOnce(&Self)) {
        let over = Over::default();
        let mut wishes = std::mem::take(&mut self.wishes);
        let mut rng = StdRng::seed_from_u64(self.rng.random());
        let mut connections = StdRng::seed_from_u64(self.rng.random());
        std::thread::scope(|scope| {
            let (over, wishes) = (&over, &mut wishes);
            let this = &*self;
            scope.spawn(move || {
                while !over.is_over() {
                    wishes.change(&mut rng, &this.system, &this.cluster, &this.runtime);
                }
            });
            scope.spawn(move || {
                while !over.is_over() {
                    this.connect(&mut connections);
                }
            });
            let _running = over.on_drop();
            act(this);
        });
        self.wishes = wishes;
        let (yes, no) = self.wishes.take_answers();
        self.figures.acknowledged += yes;
        self.figures.unanswered += no;
        let wrong = Tally::read(&self.figures.tally.wrong);
        assert_eq!(wrong, 0, "connections with wrong bytes ({self:?})");
    }

    fn connect(&self, rng: &mut StdRng) {
        let content = fs::read(&self.hosts).expect("the hosts file is readable at all times");
        let names = self.parsed(&content).names;
        let addresses: Vec<_> = names.values().collect();
        let length = rng.random_range(1..=MAX_SLICE);
        if addresses.is_empty() {
            std::thread::yield_now();
            return;
        }
        let address = *addresses[rng.random_range(0..addresses.len())];
        let to = SocketAddr::from((address, PORT));
        let patience = Duration::from_secs(5);
        self.figures.tally.connection(to, length, patience);
    }

    /// A connection that comes while there is no worker waits for the next one.
    fn kill_worker(&mut self) {
        let workers = self.system.workers();
        let name = format!("s0.{STEADY}");
        let content = fs::read(&self.hosts).expect("the hosts file is readable");
        let address = self.parsed(&content).names[&name];
        self.under_changes(|round| {
            for worker in &workers {
                signal(*worker, Signal::SIGKILL);
            }
            // Until it has ended, it may still accept.
            converges("a killed worker ends", || {
                let left = kernel::processes("kubefwd-worker");
                match left.iter().any(|left| workers.contains(left)) {
                    true => Err(format!("{left:?}")),
                    false => Ok(()),
                }
            });
            let began = Instant::now();
            let waited = exchange((address, PORT).into(), 4096, PATIENCE);
            assert!(
                waited.is_ok(),
                "{round:?}: a connection to {name} while its worker starts again: {waited:?} after {:?}; the daemon says\n{}",
                began.elapsed(),
                round.system.log()
            );
        });
        self.figures.workers += workers.len() as u64;
    }

    /// What has to hold when the daemon is dead.
    fn nothing_is_left(&mut self) {
        let content = fs::read(&self.hosts).expect("the hosts file is there at all times");
        let hosts = self.parsed(&content);
        assert!(
            hosts.foreign == self.foreign,
            "{self:?}: foreign bytes changed: {}",
            String::from_utf8_lossy(&content)
        );
        let left = self.leftovers();
        self.figures.interrupted_writes += left.difference(&self.known).count() as u64;
        self.known = left;
        converges("nothing outlives the daemon", || {
            let workers = kernel::processes("kubefwd-worker");
            let sockets = self.forwarded_listeners();
            match workers.is_empty() && sockets.is_empty() {
                true => Ok(()),
                false => Err(format!("workers {workers:?}, listeners {sockets:?}")),
            }
        });
    }

    /// Another program writes to the hosts file while no daemon looks.
    fn others_write(&mut self) {
        if self.rng.random_bool(0.3) {
            let line = format!("10.2.{}.1 other\n", self.figures.rounds % 250);
            let file = fs::OpenOptions::new().append(true).open(&self.hosts);
            let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
            written.expect("the hosts file is writable");
            self.foreign.extend(line.into_bytes());
        }
    }

    /// What has to hold when the daemon is ready again.
    fn is_as_asked(&mut self) {
        self.wishes.are_remembered(&self.system);
        self.wishes.ask_again(&self.system);
        let expected = self.wishes.expected_names();
        let what = format!("everything that was asked for is there ({self:?})");
        converges(&what, || {
            let content = fs::read(&self.hosts).expect("the hosts file is there at all times");
            let hosts = self.parsed(&content);
            let found = hosts.names.iter();
            let found = found.filter(|(name, _)| wishes::is_service(name));
            let found: BTreeMap<_, _> = found.collect();
            let names: Vec<_> = found.keys().copied().cloned().collect();
            if hosts.foreign != self.foreign || names != expected {
                return Err(format!("names {names:?}, expected {expected:?}"));
            }
            let wanted: BTreeSet<_> = found.values().map(|address| **address).collect();
            let sockets = self.forwarded_listeners();
            let (sockets, aliases) = (sockets.len(), self.aliases());
            if (sockets, aliases) != (wanted.len(), wanted.len()) {
                return Err(format!(
                    "{} addresses, {sockets} listeners, {aliases} aliases",
                    wanted.len()
                ));
            }
            Ok(())
        });
        let content = fs::read(&self.hosts).expect("the hosts file is there at all times");
        let names = self.parsed(&content).names;
        let name = &expected[self.rng.random_range(0..expected.len())];
        let answer = exchange((names[name], PORT).into(), 4096, PATIENCE);
        assert!(
            answer.is_ok(),
            "{self:?}: {name} after a start: {answer:?}; the daemon says\n{}",
            self.system.log()
        );
    }

    /// An ordinary end leaves nothing at all.
    fn end(&mut self) {
        self.system.stop_daemon();
        self.nothing_is_left();
        let content = fs::read(&self.hosts).expect("the hosts file is there at all times");
        assert!(
            content == self.foreign,
            "the hosts file is as it was without us"
        );
        assert_eq!(self.aliases(), 0, "no address is left");
        assert!(self.leftovers().is_empty(), "{:?}", self.leftovers());
        assert!(!self.system.socket().exists(), "the socket is gone");
    }

    fn parsed(&self, content: &[u8]) -> Hosts {
        Hosts::parse(content).unwrap_or_else(|wrong| {
            panic!("{self:?}: {wrong}: {}", String::from_utf8_lossy(content))
        })
    }

    fn forwarded_listeners(&self) -> Vec<std::net::SocketAddrV4> {
        let all = kernel::listeners().into_iter();
        all.filter(|socket| is_ours(*socket.ip())).collect()
    }

    fn aliases(&self) -> usize {
        let all = kernel::loopback_addresses();
        all.iter().filter(|address| is_ours(**address)).count()
    }

    fn leftovers(&self) -> BTreeSet<PathBuf> {
        let mut all = leftovers(self.beside());
        all.extend(leftovers(&self.state));
        all
    }

    fn beside(&self) -> &Path {
        self.hosts.parent().unwrap_or(Path::new("/"))
    }
}

/// Files of interrupted writes in a directory.
fn leftovers(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let temporary = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(".kubefwd-")
    });
    temporary.map(|entry| entry.path()).collect()
}

fn is_ours(address: std::net::Ipv4Addr) -> bool {
    address.octets()[..2] == [10, 99]
}

impl Figures {
    /// All kills.
    #[must_use]
    pub fn kills(&self) -> u64 {
        self.running + self.starting + self.stopping + self.workers
    }
}

impl fmt::Debug for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { seed, rounds, .. } = self.figures;
        write!(f, "seed {seed}, round {rounds}")
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        let complete = Tally::read(&tally.complete);
        let broken = Tally::read(&tally.broken);
        let wrong = Tally::read(&tally.wrong);
        writeln!(f, "seed                     {}", self.seed)?;
        writeln!(f, "kills                    {}", self.kills())?;
        writeln!(f, "  of a running daemon    {}", self.running)?;
        writeln!(f, "  of a starting daemon   {}", self.starting)?;
        writeln!(f, "  of a stopping daemon   {}", self.stopping)?;
        writeln!(f, "  of a worker            {}", self.workers)?;
        writeln!(f, "writes interrupted       {}", self.interrupted_writes)?;
        writeln!(f, "changes acknowledged     {}", self.acknowledged)?;
        writeln!(f, "changes without answer   {}", self.unanswered)?;
        writeln!(f, "connections complete     {complete}")?;
        writeln!(f, "connections cut          {broken}")?;
        writeln!(f, "connections wrong        {wrong}")?;
        write!(f, "seconds                  {}", self.took.as_secs())
    }
}
