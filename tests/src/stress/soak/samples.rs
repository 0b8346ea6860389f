//! Figures over time: what the daemon and its worker hold, and whether it grows.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::PATIENCE;
use crate::stress::kernel::{Held, held, listeners};
use crate::stress::traffic::Tally;

/// Means of the last quarter may be so much above those of the second, in percent and in bytes: allocators keep what
/// bursts have needed.
const GROWTH_PERCENT: u64 = 15;
const GROWTH_BYTES: u64 = 6 * 1024 * 1024;
/// Descriptors that a worker may hold more at rest: tunnels to pods that it keeps warm.
const WARM: u64 = 24;
/// At rest, nothing changes for so many looks, a second apart.
const CALM: u32 = 4;

/// All samples of a run.
#[derive(Debug)]
pub struct Samples {
    began: Instant,
    all: Vec<(Held, Held)>,
    csv: Option<File>,
}

impl Samples {
    /// None yet; each will be a line of this file too.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn new(csv: Option<&Path>) -> Self {
        let csv = csv.map(|path| {
            let file = File::create(path);
            let mut file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let head = "second,daemon_bytes,daemon_descriptors,daemon_threads,worker_bytes,worker_descriptors,\
                        worker_threads,services,complete,cut,wrong,event";
            writeln!(file, "{head}").expect("the file is writable");
            file
        });
        Self {
            began: Instant::now(),
            all: Vec::new(),
            csv,
        }
    }

    /// Takes one.
    ///
    /// # Panics
    /// When one of the processes has ended.
    pub fn take(&mut self, daemon: u32, worker: u32, services: usize, tally: &Tally, event: &str) {
        let daemon = held(daemon).expect("the daemon lives through all of it");
        let worker = held(worker).expect("the worker lives through all of it");
        self.all.push((daemon, worker));
        let Some(csv) = &mut self.csv else { return };
        let [complete, cut, wrong] =
            [&tally.complete, &tally.broken, &tally.wrong].map(Tally::read);
        let held =
            [daemon, worker].map(|h| format!("{},{},{}", h.resident, h.descriptors, h.threads));
        writeln!(
            csv,
            "{},{},{services},{complete},{cut},{wrong},{event}",
            self.began.elapsed().as_secs(),
            held.join(",")
        )
        .expect("the file is writable");
    }

    /// The second quarter beside the last.
    ///
    /// # Panics
    /// With fewer than eight samples.
    #[must_use]
    pub fn compare(&self) -> Comparison {
        let quarter = self.all.len() / 4;
        assert!(quarter >= 2, "too few samples: {}", self.all.len());
        let mean = |samples: &[(Held, Held)]| {
            let count = samples.len() as u64;
            let of = |what: fn(&(Held, Held)) -> u64| samples.iter().map(what).sum::<u64>() / count;
            Means {
                daemon: of(|(daemon, _)| daemon.resident),
                worker: of(|(_, worker)| worker.resident),
                daemon_descriptors: of(|(daemon, _)| daemon.descriptors),
                worker_descriptors: of(|(_, worker)| worker.descriptors),
            }
        };
        Comparison {
            second: mean(&self.all[quarter..2 * quarter]),
            last: mean(&self.all[self.all.len() - quarter..]),
        }
    }
}

/// Means of a quarter of the samples.
#[derive(Debug, Clone, Copy)]
struct Means {
    daemon: u64,
    worker: u64,
    daemon_descriptors: u64,
    worker_descriptors: u64,
}

/// Two quarters of a run.
#[derive(Debug, Clone, Copy)]
pub struct Comparison {
    second: Means,
    last: Means,
}

impl Comparison {
    /// # Errors
    /// Says what grew.
    pub fn is_flat(&self) -> Result<(), String> {
        let pairs = [
            ("daemon", self.second.daemon, self.last.daemon),
            ("worker", self.second.worker, self.last.worker),
        ];
        for (who, second, last) in pairs {
            let limit = second + (second * GROWTH_PERCENT / 100).max(GROWTH_BYTES);
            if last > limit {
                return Err(format!("{who}: {second} bytes, later {last}"));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |who: &str, second: u64, last: u64| {
            writeln!(
                f,
                "{who:<24} {second} in the second quarter, {last} in the last"
            )
        };
        row("daemon, mean bytes", self.second.daemon, self.last.daemon)?;
        row("worker, mean bytes", self.second.worker, self.last.worker)?;
        let (second, last) = (self.second.daemon_descriptors, self.last.daemon_descriptors);
        row("daemon, descriptors", second, last)?;
        let (second, last) = (self.second.worker_descriptors, self.last.worker_descriptors);
        write!(
            f,
            "{:<24} {second} in the second quarter, {last} in the last",
            "worker, descriptors"
        )
    }
}

/// What is held while nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    daemon: Held,
    worker: Held,
    listeners: u64,
}

impl Rest {
    /// Waits until descriptors, threads and listeners stay the same.
    ///
    /// # Panics
    /// When they never do.
    #[must_use]
    pub fn settled(daemon: u32, worker: u32) -> Self {
        let look = || Self {
            daemon: held(daemon).expect("the daemon lives"),
            worker: held(worker).expect("the worker lives"),
            listeners: listeners().len() as u64,
        };
        let deadline = Instant::now() + PATIENCE;
        let (mut last, mut calm) = (look(), 0);
        while calm < CALM {
            assert!(Instant::now() < deadline, "this never rests: {last}");
            std::thread::sleep(Duration::from_secs(1));
            let now = look();
            calm = if now.counts() == last.counts() {
                calm + 1
            } else {
                0
            };
            last = now;
        }
        last
    }

    fn counts(&self) -> (u64, u64, u64) {
        (
            self.daemon.descriptors,
            self.worker.descriptors,
            self.listeners,
        )
    }

    /// # Errors
    /// Says what is held more than before.
    pub fn is_no_more_than(&self, before: &Self) -> Result<(), String> {
        let pairs = [
            (
                "descriptors of the daemon",
                before.daemon.descriptors,
                self.daemon.descriptors,
            ),
            (
                "descriptors of the worker",
                before.worker.descriptors + WARM,
                self.worker.descriptors,
            ),
            ("listening sockets", before.listeners, self.listeners),
        ];
        let more = pairs.iter().find(|(_, before, after)| after > before);
        match more {
            Some((what, before, after)) => Err(format!("{after} {what}, allowed are {before}")),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |held: &Held| {
            format!(
                "{} bytes, {} descriptors, {} threads",
                held.resident, held.descriptors, held.threads
            )
        };
        write!(
            f,
            "daemon {}; worker {}; {} listening sockets",
            one(&self.daemon),
            one(&self.worker),
            self.listeners
        )
    }
}
