//! What `ns ls`, `svc ls` and `fwd ls` share: a single list, or a watch.

use clap::Args;
use kubefwd_proto::control::v1::{Filter, ListRequest};

use crate::cache::Cache;
use crate::error::{Answer as _, CliError};
use crate::output::changes::{Cached, ChangePrinter};
use crate::output::listing;
use crate::session::Session;
use crate::watch::Watch;

/// Which objects to list.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Only this context
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// Include those of other users
    #[arg(short = 'A', long)]
    all_users: bool,
    /// Watch for changes
    #[arg(short, long)]
    pub(crate) watch: bool,
}

impl ListArgs {
    /// In the form of the daemon's API.
    pub(crate) fn to_filter(&self) -> Filter {
        Filter {
            context: self.context.clone().unwrap_or_default(),
            all_users: self.all_users,
            ..Filter::default()
        }
    }
}

/// Prints what there is and, with `watch`, every change until the daemon stops or the reader goes away.
///
/// # Errors
/// The daemon's refusal, a lost connection, or [`CliError::Output`].
pub(crate) async fn run<T: Cached>(
    session: &Session,
    filter: Filter,
    watch: bool,
    if_none: &str,
) -> Result<(), CliError> {
    let mut daemon = session.connect().await?;
    let what = format!("cannot list {}", T::PLURAL);
    if !watch {
        let request = ListRequest {
            filter: Some(filter),
        };
        let answer = daemon.control.list(request).await;
        let list = answer.answered(&what)?;
        let cache = Cache::of(list).map_err(|error| CliError::malformed(what, error))?;
        let items = T::select(cache.objects());
        return listing::print(&session.out, T::PLURAL, &items, if_none);
    }
    let mut watch = Watch::open(&mut daemon, filter, &what).await?;
    watch.what = format!("stopped watching {}", T::PLURAL);
    let mut printer = ChangePrinter::new(session.out);
    printer.replace(T::select(watch.cache.objects()))?;
    loop {
        let delta = watch.next().await?;
        if delta.replaced {
            printer.replace(T::select(watch.cache.objects()))?;
        } else {
            printer.remove(&T::select(delta.removed))?;
            printer.change(T::select(delta.changed))?;
        }
    }
}
