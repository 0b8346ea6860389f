//! Authentication as the user's own programs do it: the kubeconfig, inline tokens, rotated files, client certificates and
//! credential plugins.
//!
//! [`ContextCredentials`] is the [`CredentialSource`] of one kubeconfig context. All callers wait for the same refresh;
//! credentials that are about to expire are renewed while still in use; rejected ones are fetched again once. Failed
//! attempts are spaced out, because a plugin may open a browser each time.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, Ready, Shared, ready};
use jiff::SignedDuration;
use kubefwd_model::{Failure, failure};
use parking_lot::Mutex;
use tokio::task::JoinError;

use deadline::{Deadline, Moment};
use kubefwd_portforward::api_server::{CredentialSource, Credentials};
use renewal::{Cached, Sources};

mod certificate;
mod deadline;
pub(crate) mod exec;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod headers;
pub mod kubeconfig;
mod material;
mod renewal;
pub(crate) mod suggest;
pub(crate) mod tls;

/// A credential that replaced a refused one and is refused itself this soon is not fetched again: it would not help.
const FRESH: SignedDuration = SignedDuration::from_secs(10);
/// The pause after a failed attempt; it doubles with each.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(300);

type Fetched = Result<Credentials, Failure>;
type Fetch = Shared<BoxFuture<'static, Fetched>>;

/// The credentials of one kubeconfig context.
#[derive(Clone)]
pub struct ContextCredentials {
    inner: Arc<Inner>,
}

struct Inner {
    sources: Sources,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cached: Option<Arc<Cached>>,
    /// The fetch in progress, shared by all that wait.
    fetch: Option<Fetch>,
    last_failure: Option<LastFailure>,
}

/// The last attempt failed.
struct LastFailure {
    failure: Failure,
    until: Deadline,
    pause: SignedDuration,
}

impl ContextCredentials {
    /// Reads the context; no file is read and no plugin run before the first credentials are needed.
    ///
    /// # Errors
    /// The kubeconfig is contradictory or not supported.
    pub fn new(
        context: &kubeconfig::Context,
        environment: &kubeconfig::Environment,
    ) -> Result<Self, Failure> {
        let inner = Inner {
            sources: Sources::new(context, environment)?,
            state: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Forgets the last failure: the user may have logged in again.
    pub fn try_again(&self) {
        self.inner.state.lock().last_failure = None;
    }

    /// Makes the cached credentials look older, for tests.
    #[cfg(test)]
    pub(crate) fn make_older(&self, by: SignedDuration) {
        let mut state = self.inner.state.lock();
        let cached = state.cached.take().and_then(Arc::into_inner);
        state.cached = cached.map(|cached| Arc::new(cached.fetched_earlier(by)));
    }

    /// Credentials or a failure at once, or those of a fetch.
    fn next(&self, rejected: Option<u64>) -> Either<Ready<Fetched>, Fetch> {
        let now = Moment::now();
        let mut state = self.inner.state.lock();
        let cached = state.cached.clone();
        let generation = cached.as_ref().map(|cached| cached.credentials.generation);
        let is_refused = rejected.is_some() && rejected == generation;
        if let Some(cached) = &cached
            && !is_refused
            && !cached.is_expired(now)
        {
            if cached.needs_refresh(now)
                && state.fetch.is_none()
                && state.recent_failure(now).is_none()
            {
                drop(self.start_fetch(&mut state, false));
            }
            return Either::Left(ready(Ok(cached.credentials.clone())));
        }
        if let Some(fetch) = &state.fetch {
            return Either::Right(fetch.clone());
        }
        if let Some(failure) = state.recent_failure(now) {
            return Either::Left(ready(Err(failure.clone())));
        }
        if let Some(cached) = cached
            && is_refused
            && cached.after_refusal
            && !cached.fresh_until.has_passed(now)
        {
            return Either::Left(ready(Err(self.inner.sources.refused(&cached))));
        }
        Either::Right(self.start_fetch(&mut state, is_refused))
    }

    /// Starts a fetch that continues even if nobody waits for it any longer.
    fn start_fetch(&self, state: &mut State, refused: bool) -> Fetch {
        let inner = self.inner.clone();
        let cached = state.cached.clone();
        let task = tokio::spawn(async move {
            let fetched = inner.sources.fetch(cached.as_deref(), refused).await;
            inner.state.lock().finish_fetch(fetched)
        });
        let fetch = task.map(|fetched| finished("fetching credentials", fetched));
        let fetch = fetch.boxed().shared();
        state.fetch = Some(fetch.clone());
        fetch
    }
}

/// The result of a task; one that panicked or was cancelled failed.
fn finished<T>(what: &str, joined: Result<Result<T, Failure>, JoinError>) -> Result<T, Failure> {
    joined.unwrap_or_else(|error| Err(failure!(Internal, "{what} was interrupted: {error}")))
}

impl CredentialSource for ContextCredentials {
    fn credentials(&self, rejected: Option<u64>) -> BoxFuture<'_, Result<Credentials, Failure>> {
        self.next(rejected).boxed()
    }
}

impl State {
    /// The last failure, until it is time for another attempt.
    fn recent_failure(&self, now: Moment) -> Option<&Failure> {
        let last = self.last_failure.as_ref();
        let recent = last.filter(|last| !last.until.has_passed(now));
        recent.map(|recent| &recent.failure)
    }

    fn finish_fetch(&mut self, fetched: Result<Cached, Failure>) -> Result<Credentials, Failure> {
        self.fetch = None;
        match fetched {
            Ok(cached) => {
                let credentials = cached.credentials.clone();
                self.cached = Some(Arc::new(cached));
                self.last_failure = None;
                Ok(credentials)
            }
            Err(failure) => {
                let last = self.last_failure.as_ref();
                let pause = last.map_or(FIRST_PAUSE, |last| (last.pause * 2).min(LONGEST_PAUSE));
                tracing::warn!(%failure, ?pause, "no credentials");
                self.last_failure = Some(LastFailure {
                    failure: failure.clone(),
                    until: Deadline::after(pause, Moment::now()),
                    pause,
                });
                Err(failure)
            }
        }
    }
}

#[cfg(test)]
mod tests;
