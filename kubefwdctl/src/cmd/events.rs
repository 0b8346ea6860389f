//! `kubefwdctl events`: past events, and new ones as they happen.

mod event;

use std::time::{Duration, SystemTime};

use clap::Args;
use kubefwd_model::Time;
use kubefwd_proto::control::v1::EventsRequest;

use crate::error::{Answer as _, CliError};
use crate::output::listing::{self, Live};
use crate::parse;
use crate::session::Session;
use event::Event;

/// How many events are shown unless the command line says otherwise.
const DEFAULT_LIMIT: u32 = 50;
const WHAT: &str = "cannot show events";

/// `events`
#[derive(Args, Debug)]
pub(crate) struct EventsArgs {
    /// Watch for new events
    #[arg(short, long)]
    watch: bool,
    /// Only events newer than this, such as 5m
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    since: Option<Duration>,
    /// Show only the last COUNT events [default: 50, or all with --since]
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// Prints the events, oldest first.
///
/// # Errors
/// What is left to report.
pub(crate) async fn run(session: &Session, args: &EventsArgs) -> Result<(), CliError> {
    let mut daemon = session.connect().await?;
    let all_or_default = args.since.map_or(DEFAULT_LIMIT, |_| 0);
    let request = EventsRequest {
        follow: args.watch,
        after_id: 0,
        limit: args.limit.unwrap_or(all_or_default),
    };
    let answer = daemon.control.events(request).await;
    let mut stream = answer.answered(WHAT)?;
    let refused = |status| CliError::from_status(WHAT, &status);
    let since = args
        .since
        .and_then(|ago| SystemTime::now().checked_sub(ago));
    let oldest = since.map(Time::from);
    let (mut live, mut past) = (Live::new(session.out), Vec::new());
    while let Some(message) = stream.message().await.map_err(refused)? {
        if message.gap {
            session
                .out
                .warning("some events are missing: the daemon no longer has them", "");
        }
        let Some(event) = message.event.map(Event::from) else {
            continue;
        };
        let is_recent = match (oldest, event.timestamp) {
            (Some(oldest), Some(time)) => time >= oldest,
            _ => true,
        };
        match (is_recent, args.watch) {
            (false, _) => {}
            (true, true) => live.print(&event)?,
            (true, false) => past.push(event),
        }
    }
    if args.watch {
        return Err(CliError::stream_ended(WHAT));
    }
    listing::print(&session.out, "events", &past, "no events")
}
