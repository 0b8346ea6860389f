//! Where it is measured: a simulated cluster or a real one, with the daemon and the peers in front of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kubefwd_tests::harness::net::resolve;
use kubefwd_tests::harness::{Options, Sandbox, System, Target, eventually, sandbox};

use crate::far::{self, Far, MANY, NAMESPACE};
use crate::kubectl;
use crate::process;
use crate::tools::{App, Kind, Kubectl, Tool};

/// Round trips that are offered, in milliseconds.
pub(crate) const DELAYS: [u64; 3] = [0, 20, 80];

/// What a real cluster's context is called here.
const REAL: &str = "sim";

/// The cluster, the daemon, and every tool at every round trip.
pub(crate) struct Place {
    // In the order in which they must end.
    tools: BTreeMap<(u64, Kind), Tool>,
    _system: System,
    far: Option<Far>,
    _real: Option<Target>,
}

impl Place {
    /// Everything that the comparisons need.
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        if sandbox::is_real() {
            Self::with_real(directory)
        } else {
            Self::simulated(directory)
        }
    }

    /// Round trips that can be measured here.
    pub(crate) fn delays(&self) -> &'static [u64] {
        match &self.far {
            Some(_) => &DELAYS,
            None => &DELAYS[..1],
        }
    }

    /// The tool at a round trip. A real cluster's pods cannot be reached directly.
    pub(crate) fn tool(&mut self, delay: u64, kind: Kind) -> Option<&mut Tool> {
        self.tools.get_mut(&(delay, kind))
    }

    /// The simulated cluster, for what only that allows.
    pub(crate) fn far(&self) -> Option<&Far> {
        self.far.as_ref()
    }

    /// Waits until nothing of what was measured last is under way: a runtime goes on sending for a second to a client that
    /// has left, and that would be counted with what comes next.
    pub(crate) fn quiet(&self) -> Result<()> {
        const LONGEST: Duration = Duration::from_secs(10);
        const PAUSE: Duration = Duration::from_millis(50);
        let Some(far) = &self.far else {
            std::thread::sleep(Duration::from_millis(1500));
            return Ok(());
        };
        let began = Instant::now();
        while far.counts()?["dials_open"] != 0 && began.elapsed() < LONGEST {
            std::thread::sleep(PAUSE);
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }

    fn simulated(directory: &Path) -> Result<Self> {
        let far = Far::start(0, &DELAYS, directory.to_owned())?;
        let system = System::start_with(&Sandbox::at(directory), "", Options::default());
        let mut tools = BTreeMap::new();
        for (delay, kubeconfig) in &far.ready.kubeconfigs {
            let context = format!("r{delay}");
            let direct = Tool::Fixed {
                addresses: far.ready.direct[delay].clone(),
                pid: None,
            };
            tools.insert((*delay, Kind::Direct), direct);
            add(&system, &all(&far), &context, NAMESPACE)?;
            tools.extend(compared(&system, kubeconfig, &context, NAMESPACE, *delay)?);
        }
        Ok(Self {
            tools,
            _system: system,
            far: Some(far),
            _real: None,
        })
    }

    fn with_real(directory: &Path) -> Result<Self> {
        let sandbox = Sandbox::at(directory);
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let real = runtime.block_on(Target::start(&sandbox, far::applications()));
        let kubeconfig = directory.join("real");
        std::fs::write(&kubeconfig, real.kubeconfig())?;
        let system = System::start_with(&sandbox, "", Options::default());
        add(&system, kubeconfig.as_os_str(), REAL, real.namespace())?;
        let tools = compared(&system, &kubeconfig, REAL, real.namespace(), 0)?;
        Ok(Self {
            tools: tools.into_iter().collect(),
            _system: system,
            far: None,
            _real: Some(real),
        })
    }
}

/// A daemon that forwards many services, for what is measured while nothing happens.
pub(crate) struct Many {
    pub(crate) system: System,
    pub(crate) far: Far,
}

impl Many {
    /// In a directory of its own, so that nothing is left of an earlier one.
    pub(crate) fn start(services: usize, directory: &Path, options: Options) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let far = Far::start(services, &[0], directory.to_owned())?;
        let system = System::start_with(&Sandbox::at(directory), "", options);
        add(&system, &all(&far), "r0", MANY)?;
        Ok(Self { system, far })
    }
}

/// A daemon that looks for HTTP in what it forwards, or one that does not.
pub(crate) struct Capturing {
    system: System,
    address: IpAddr,
    // The cluster ends last.
    far: Rc<Far>,
}

impl Capturing {
    /// The first of the two, with a cluster.
    pub(crate) fn start(directory: &Path, capture: bool) -> Result<Self> {
        let far = Far::start(0, &[0], directory.to_owned())?;
        Self::before(Rc::new(far), directory, capture)
    }

    /// The second, before the same cluster.
    pub(crate) fn beside(first: &Self, directory: &Path) -> Result<Self> {
        Self::before(Rc::clone(&first.far), directory, true)
    }

    fn before(far: Rc<Far>, directory: &Path, capture: bool) -> Result<Self> {
        let directory = directory.join(format!("capture-{capture}"));
        std::fs::create_dir_all(&directory)?;
        // Addresses and names of its own: both run at once.
        let range = if capture {
            "127.64.0.0/10"
        } else {
            "127.128.0.0/10"
        };
        let hosts = directory.join("hosts");
        std::fs::write(&hosts, "")?;
        let options = Options {
            hosts_file: Some(hosts),
            config: format!("addresses.range = \"{range}\"\nhttp.capture = {capture}\n"),
            ..Options::default()
        };
        let system = System::start_with(&Sandbox::at(&directory), "", options);
        add(&system, &all(&far), "r0", NAMESPACE)?;
        let service = system.service(&format!("tools.{NAMESPACE}.r0"));
        let service = service.context("the service of the bench is not listed")?;
        let address = service["localIP"].as_str().and_then(|ip| ip.parse().ok());
        Ok(Self {
            system,
            address: address.context("the service of the bench has no address")?,
            far,
        })
    }

    /// Where an application answers.
    pub(crate) fn address(&self, app: App) -> SocketAddr {
        (self.address, app.port()).into()
    }

    /// The process that does the work.
    pub(crate) fn worker(&self) -> Result<u32> {
        worker(&self.system)
    }
}

/// The kubeconfigs of all round trips, as `KUBECONFIG` lists them.
fn all(far: &Far) -> OsString {
    let paths: Vec<_> = far
        .ready
        .kubeconfigs
        .values()
        .map(|path| path.as_os_str())
        .collect();
    paths.join(":".as_ref())
}

fn add(
    system: &System,
    kubeconfigs: &std::ffi::OsStr,
    context: &str,
    namespace: &str,
) -> Result<()> {
    let line = ["ns", "add", namespace, "--context", context, "--wait=10m"];
    let answer = system.ctl_with(kubeconfigs.as_ref(), &line);
    if answer.code != 0 {
        bail!("{answer}");
    }
    Ok(())
}

/// Ours and both kinds of kubectl in front of one cluster.
fn compared(
    system: &System,
    kubeconfig: &Path,
    context: &str,
    namespace: &str,
    delay: u64,
) -> Result<Vec<((u64, Kind), Tool)>> {
    let select = [
        "-n",
        namespace,
        "get",
        "pods",
        "-l",
        "app=tools",
        "-o",
        "name",
    ];
    let pods = kubectl::run(kubeconfig, context, &select)?;
    let pod = pods
        .lines()
        .next()
        .context("the pod of the bench is not there")?;
    let kubectl = |websocket| {
        Tool::Kubectl(Kubectl {
            kubeconfig: kubeconfig.to_owned(),
            context: context.to_owned(),
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            websocket,
            running: None,
        })
    };
    Ok(vec![
        ((delay, Kind::WebSocket), kubectl(true)),
        ((delay, Kind::Spdy), kubectl(false)),
        (
            (delay, Kind::Ours),
            ours(system, &format!("tools.{namespace}.{context}"))?,
        ),
    ])
}

fn ours(system: &System, name: &str) -> Result<Tool> {
    let address = eventually(&format!("{name} resolves"), || {
        resolve(name).first().copied()
    });
    let addresses = App::ALL.map(|app| (app, (address, app.port()).into()));
    Ok(Tool::Fixed {
        addresses: addresses.into(),
        pid: Some(worker(system)?),
    })
}

/// The worker of a daemon.
pub(crate) fn worker(system: &System) -> Result<u32> {
    process::child(system.daemon_pid(), "kubefwd-worker").context("the daemon has no worker")
}

/// Leaves the machine to what just happened for a moment, so that it is not counted with what comes.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_millis(200));
}
