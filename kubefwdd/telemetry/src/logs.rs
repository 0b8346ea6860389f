//! The daemon's own log, as `tracing` hands it out: the newest lines, for those who may see them.
//!
//! A line that concerns one user has a field `uid`, and only that user and root see it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use kubefwd_model::Uid;
use kubefwd_model::text::clean;
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::events::{Concerns, Ring};

/// Lines kept.
const LINES: usize = 5_000;
/// The longest message that is kept, bytes.
const MESSAGE: usize = 4_096;
/// The longest value of a field that is kept, bytes.
const VALUE: usize = 1_024;
/// Fields kept of one line.
const FIELDS: usize = 16;

/// One line.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// When it was logged.
    pub time: SystemTime,
    /// Its level.
    pub level: Level,
    /// Its text.
    pub message: String,
    /// The user it concerns; `None` if it concerns nobody in particular.
    pub uid: Option<Uid>,
    /// The key of the service that it is about.
    pub service: Option<String>,
    /// All other fields.
    pub fields: Vec<(&'static str, String)>,
}

/// The newest lines.
pub struct LogRing {
    lines: Ring<LogLine>,
    /// The last line that a user has cleared.
    cleared: Mutex<HashMap<Uid, u64>>,
}

/// Feeds a [`LogRing`].
pub struct LogLayer {
    ring: Arc<LogRing>,
}

impl Concerns for LogLine {
    fn user(&self) -> Option<Uid> {
        self.uid
    }
}

impl Default for LogRing {
    fn default() -> Self {
        Self {
            lines: Ring::new(LINES),
            cleared: Mutex::default(),
        }
    }
}

// === impl LogRing ===

impl LogRing {
    /// The lines, to follow them.
    pub fn lines(&self) -> &Ring<LogLine> {
        &self.lines
    }

    /// Clears the log as one user sees it.
    pub fn clear_for(&self, uid: Uid) {
        let newest = self.lines.totals().0;
        self.cleared.lock().insert(uid, newest);
    }

    /// The id of the last line that this user cleared; 0 for none.
    pub fn cleared_by(&self, uid: Option<Uid>) -> u64 {
        let cleared = self.cleared.lock();
        uid.and_then(|uid| cleared.get(&uid).copied()).unwrap_or(0)
    }
}

// === impl LogLayer ===

impl LogLayer {
    /// A layer that feeds `ring`.
    pub fn new(ring: Arc<LogRing>) -> Self {
        Self { ring }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = LogLine {
            time: SystemTime::now(),
            level: *event.metadata().level(),
            message: String::new(),
            uid: None,
            service: None,
            fields: Vec::new(),
        };
        event.record(&mut Fields(&mut line));
        self.ring.lines.push(line);
    }
}

/// Takes the fields of an event.
struct Fields<'a>(&'a mut LogLine);

impl Fields<'_> {
    fn text(&mut self, field: &Field, text: &str) {
        match field.name() {
            "message" => self.0.message = clean(text, MESSAGE),
            "service" => self.0.service = Some(clean(text, VALUE)),
            name if self.0.fields.len() < FIELDS => self.0.fields.push((name, clean(text, VALUE))),
            _ => {}
        }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match (field.name(), u32::try_from(value)) {
            ("uid", Ok(uid)) => self.0.uid = Some(Uid::new(uid)),
            _ => self.text(field, &value.to_string()),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, &value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_line_is_taken_once_with_its_fields() {
        let (ring, layer) = super::super::log_ring();
        let subscriber = tracing_subscriber::registry().with(layer);
        let uid = Uid::new(1000);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(
                uid = uid.get(),
                service = "api.shop.kind",
                attempt = 3,
                "lost\n{}",
                "it"
            );
        });
        let lines = ring.lines.newest_where(10, |_| true);
        assert_eq!(lines.len(), 1);
        let line = &lines[0].event;
        assert_eq!(
            (line.message.as_str(), line.level),
            ("lost it", Level::WARN)
        );
        assert_eq!(
            (line.uid, line.service.as_deref()),
            (Some(uid), Some("api.shop.kind"))
        );
        assert_eq!(line.fields, [("attempt", "3".to_owned())]);
    }

    #[test]
    fn clearing_hides_what_one_user_has_seen() {
        let (ring, layer) = super::super::log_ring();
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("before");
            ring.clear_for(7.into());
            tracing::info!("after");
        });
        let seen = |uid| {
            let cleared = ring.cleared_by(Some(uid));
            ring.lines.newest_where(10, |line| line.id > cleared).len()
        };
        assert_eq!((seen(7.into()), seen(8.into())), (1, 2));
    }
}
