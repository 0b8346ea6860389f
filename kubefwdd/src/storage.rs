//! The state file: versioned JSON, replaced as a whole and synced; what cannot be read is kept aside, never overwritten.
//!
//! Migrations go forward only: a file of an older version is read as what it was and converted; the types of old versions
//! are frozen in the module of their migration. A file of a newer version is kept aside like a damaged one.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kubefwd_core::state::Saved;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use crate::persist;

/// The version this daemon writes.
const VERSION: u32 = 1;
const FILE: &str = "state.json";
/// When a state that could not be saved is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The form on disk.
#[derive(Serialize, Deserialize)]
struct Versioned {
    version: u32,
    state: Saved,
}

#[derive(Deserialize)]
struct OnlyVersion {
    version: u32,
}

/// What was found at start.
#[derive(Default)]
pub(crate) struct Loaded {
    /// The state, or nothing where there was none or it could not be read.
    pub saved: Saved,
    /// Why it could not be read and where the bad file is.
    pub warning: Option<String>,
}

/// Reads the state file; a file that cannot be used is moved aside.
pub(crate) fn load(directory: &Path) -> Loaded {
    let path = directory.join(FILE);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Loaded::default();
        }
        Err(error) => return unusable(&path, &format!("cannot be read: {error}")),
    };
    match parse(&text) {
        Ok(saved) => Loaded {
            saved,
            warning: None,
        },
        Err(why) => unusable(&path, &why),
    }
}

/// Reads the text of a state file, or says why it is not one.
pub(crate) fn parse(text: &[u8]) -> Result<Saved, String> {
    let OnlyVersion { version } =
        serde_json::from_slice(text).map_err(|error| format!("is damaged: {error}"))?;
    match version {
        VERSION => serde_json::from_slice::<Versioned>(text)
            .map(|versioned| versioned.state)
            .map_err(|error| format!("is damaged: {error}")),
        newer => Err(format!(
            "has version {newer}, but this kubefwdd supports version {VERSION}: to use it, install the newer kubefwdd again and \
             move the file back"
        )),
    }
}

/// Starts empty, keeps the bad file, says so.
fn unusable(path: &Path, why: &str) -> Loaded {
    let aside = path.with_extension(format!("json.bad-{}", std::process::id()));
    let kept = match std::fs::rename(path, &aside) {
        Ok(()) => format!("it is kept as {}", aside.display()),
        Err(error) => format!("it could not be moved away ({error})"),
    };
    let warning = format!(
        "the state file {} {why}; {kept}. Nothing is forwarded until it is added again",
        path.display()
    );
    tracing::error!("{warning}");
    Loaded {
        saved: Saved::default(),
        warning: Some(warning),
    }
}

/// One state to save, and who waits for it.
struct Job {
    saved: Saved,
    waiting: Vec<oneshot::Sender<()>>,
}

/// Hands states to the task that writes them. Only the newest matters: a state that waits is replaced by a newer one.
pub(crate) struct Storage {
    jobs: mpsc::Sender<Job>,
}

/// The task that writes.
pub(crate) struct Writer {
    path: PathBuf,
    jobs: mpsc::Receiver<Job>,
    problem: watch::Sender<Option<String>>,
}

/// A queue of states to write, the task that takes from it, and why it cannot write, while that is so.
pub(crate) fn storage(directory: &Path) -> (Storage, Writer, watch::Receiver<Option<String>>) {
    let (sender, jobs) = mpsc::channel(64);
    let (problem, problems) = watch::channel(None);
    (
        Storage { jobs: sender },
        Writer {
            path: directory.join(FILE),
            jobs,
            problem,
        },
        problems,
    )
}

// === impl Storage ===

impl Storage {
    /// Saves a state; `waiting` are told when it is safe, or as safe as it gets.
    pub(crate) fn save(&self, saved: Saved, waiting: Vec<oneshot::Sender<()>>) {
        if let Err(error) = self.jobs.try_send(Job { saved, waiting }) {
            // The writer is behind by a full queue: a slow disk must not stop the daemon.
            tracing::warn!("cannot queue the state for saving");
            for done in error.into_inner().waiting {
                let _ = done.send(());
            }
        }
    }
}

// === impl Writer ===

impl Writer {
    /// Writes until the last [`Storage`] is gone. What could not be written is tried again.
    pub(crate) async fn run(mut self) {
        let mut jobs = Vec::new();
        let mut unsaved = None;
        loop {
            tokio::select! {
                taken = self.jobs.recv_many(&mut jobs, 64) => if taken == 0 { return },
                () = sleep(RETRY), if unsaved.is_some() => {}
            }
            let mut waiting = Vec::new();
            for job in jobs.drain(..) {
                waiting.extend(job.waiting);
                unsaved = Some(job.saved);
            }
            if let Some(saved) = unsaved.take() {
                unsaved = self.write(saved).await.err();
            }
            for done in waiting {
                let _ = done.send(());
            }
        }
    }

    /// Gives the state back when it could not be written.
    async fn write(&self, saved: Saved) -> Result<(), Saved> {
        let (path, copy) = (self.path.clone(), saved.clone());
        let written = tokio::task::spawn_blocking(move || write(&path, copy)).await;
        let problem = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(panic.to_string()),
        };
        let problem = problem.map(|why| {
            format!(
                "cannot save the state in {}: {why}; changes since then will be lost at the next start. Free some space \
                 or make it writable: kubefwdd keeps retrying",
                self.path.display()
            )
        });
        let failed = problem.is_some();
        self.problem.send_if_modified(|known| {
            let is_new = *known != problem;
            match &problem {
                Some(problem) if is_new => tracing::error!("{problem}"),
                None if is_new => tracing::info!("the state can be saved again"),
                _ => {}
            }
            *known = problem;
            is_new
        });
        match failed {
            true => Err(saved),
            false => Ok(()),
        }
    }
}

fn write(path: &Path, saved: Saved) -> io::Result<()> {
    persist::replace(path, &text(saved)?)
}

/// What [`parse`] reads.
pub(crate) fn text(state: Saved) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec_pretty(&Versioned {
        version: VERSION,
        state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let (storage, writer, _problems) = storage(directory.path());
        let mut saved = Saved::default();
        saved.spec.next_order = 7;
        saved
            .spec
            .users
            .entry(1000.into())
            .or_default()
            .environment
            .insert("LANG".into(), "C".into());
        let (sender, done) = oneshot::channel();
        storage.save(saved.clone(), vec![sender]);
        drop(storage);
        writer.run().await;
        done.await.unwrap();
        let loaded = load(directory.path());
        assert_eq!((loaded.saved, loaded.warning), (saved, None));
    }

    #[test]
    fn a_bad_file_is_kept_and_said() {
        for (text, why) in [
            ("{\"version\":1,\"state\"", "damaged"),
            ("{\"version\":99}", "version 99"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join(FILE), text).unwrap();
            let loaded = load(directory.path());
            assert_eq!(loaded.saved, Saved::default());
            let warning = loaded.warning.unwrap();
            assert!(warning.contains(why), "{warning}");
            let kept: Vec<_> = std::fs::read_dir(directory.path())
                .unwrap()
                .flatten()
                .collect();
            assert_eq!(std::fs::read_to_string(kept[0].path()).unwrap(), text);
            assert!(kept[0].file_name().to_string_lossy().contains("bad"));
        }
    }

    #[test]
    fn no_file_is_an_empty_state() {
        let directory = tempfile::tempdir().unwrap();
        assert!(load(directory.path()).warning.is_none());
    }
}
