//! `kubefwdctl events`: past events, and new ones as they happen.

use std::time::{Duration, SystemTime};

use clap::Args;
use jiff::Timestamp;
use kubefwd_proto::control::v1::EventsRequest;

use super::Session;
use crate::error::CliError;
use crate::output::listing::{self, Listed as _};
use crate::output::shape::Event;
use crate::output::table::{Cell, Table};
use crate::output::{Format, Output};
use crate::parse;

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
    let all_or_default = if args.since.is_some() {
        0
    } else {
        DEFAULT_LIMIT
    };
    let request = EventsRequest {
        follow: args.watch,
        after_id: 0,
        limit: args.limit.unwrap_or(all_or_default),
    };
    let refused = |status| CliError::from_status(WHAT, &status);
    let mut stream = daemon
        .control
        .events(request)
        .await
        .map_err(refused)?
        .into_inner();
    let oldest = args.since.and_then(oldest);
    let mut printer = Printer::new(session.out, args.watch);
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
        if is_recent {
            printer.take(event)?;
        }
    }
    printer.finish()?;
    if args.watch {
        return Err(CliError::Lost {
            what: WHAT.to_owned(),
            cause: "the daemon closed it, probably because it is stopping".to_owned(),
        });
    }
    Ok(())
}

/// The time of the oldest event to show.
fn oldest(since: Duration) -> Option<Timestamp> {
    let time = SystemTime::now().checked_sub(since)?;
    Timestamp::try_from(time).ok()
}

/// Prints events as they arrive when watching, else all at the end.
struct Printer {
    out: Output,
    table: Table,
    live: bool,
    header_due: bool,
    kept: Vec<Event>,
}

impl Printer {
    fn new(out: Output, live: bool) -> Self {
        Self {
            table: Table::new(out.is_coloured()),
            out,
            live,
            header_due: true,
            kept: Vec::new(),
        }
    }

    fn take(&mut self, event: Event) -> Result<(), CliError> {
        if !self.live {
            self.kept.push(event);
            return Ok(());
        }
        match self.out.format {
            Format::Json | Format::Yaml => self.out.item(&event),
            Format::Name => self.out.data(&format!("{}\n", event.key())),
            Format::Table | Format::Wide => {
                let wide = self.out.format == Format::Wide;
                let mut rows = Vec::new();
                // Printed with the first event, whose widths it needs.
                if std::mem::take(&mut self.header_due) {
                    rows.push(Event::header(wide).into_iter().map(Cell::from).collect());
                }
                rows.push(event.row(wide));
                self.out.data(&self.table.render(&rows))
            }
        }
    }

    fn finish(self) -> Result<(), CliError> {
        if self.live {
            return Ok(());
        }
        listing::print(&self.out, &self.kept, "no events")
    }
}
