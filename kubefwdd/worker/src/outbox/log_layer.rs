//! Sends the worker's warnings and errors to the daemon's log.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use kubefwd_proto::worker::v1::from_worker::Frame;
use kubefwd_proto::worker::v1::{Log, LogLevel};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::Outbox;

/// Longer messages are truncated, bytes.
const MAX_MESSAGE: usize = 4096;

/// A layer that sends warnings and errors to the daemon. It never waits: messages that do not fit are counted and
/// mentioned later.
pub(crate) struct LogLayer {
    outbox: Outbox,
    dropped: AtomicU64,
}

impl LogLayer {
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            dropped: AtomicU64::new(0),
        }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            _ => return,
        };
        let mut text = Text::default();
        event.record(&mut text);
        let mut message = text.finish();
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            message += &format!(" ({dropped} messages before this one were dropped)");
        }
        let sent = self.outbox.try_send(Frame::Log(Log {
            level: level.into(),
            message,
            service: None,
        }));
        if !sent {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }
}

/// `message name=value …`
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn finish(mut self) -> String {
        self.message.push_str(&self.fields);
        let end = self.message.floor_char_boundary(MAX_MESSAGE);
        self.message.truncate(end);
        self.message
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let _ = write!(self.fields, " {}={value}", field.name());
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(self.fields, ": {cause}");
            source = cause.source();
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::outbox;

    #[test]
    fn warnings_reach_the_daemon_and_chatter_does_not() {
        let (outbox, mut outgoing) = outbox::queue();
        let subscriber = tracing_subscriber::registry().with(LogLayer::new(outbox));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("chatter");
            tracing::warn!(port = 80, "careful");
        });
        let Some(Frame::Log(log)) = outgoing.try_next() else {
            panic!("no log frame");
        };
        assert_eq!(log.message, "careful port=80");
        assert_eq!(log.level(), LogLevel::Warn);
        assert!(outgoing.try_next().is_none());
    }
}
