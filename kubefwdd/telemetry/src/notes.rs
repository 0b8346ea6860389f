//! When notes began: names that a service did not get, what works differently than usual. None of them is an error.

use std::collections::HashMap;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::errors::Holder;

/// The notes about everything. What has none costs nothing.
#[derive(Default)]
pub struct Notes {
    inner: Mutex<HashMap<Holder, Vec<(String, SystemTime)>>>,
}

impl Notes {
    /// `holder` shows these notes now. What was shown before keeps its time.
    pub fn settle(
        &self,
        holder: &Holder,
        texts: impl IntoIterator<Item = String>,
        now: SystemTime,
    ) {
        let mut inner = self.inner.lock();
        let before = inner.remove(holder).unwrap_or_default();
        let since = |text: &String| {
            let known = before.iter().find(|(known, _)| known == text);
            known.map_or(now, |(_, since)| *since)
        };
        let notes: Vec<_> = texts
            .into_iter()
            .map(|text| {
                let since = since(&text);
                (text, since)
            })
            .collect();
        if !notes.is_empty() {
            inner.insert(holder.clone(), notes);
        }
    }

    /// When this note of `holder` began.
    pub fn since(&self, holder: &Holder, text: &str) -> Option<SystemTime> {
        let inner = self.inner.lock();
        let notes = inner.get(holder)?;
        let found = notes.iter().find(|(known, _)| known == text);
        found.map(|(_, since)| *since)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_note_keeps_its_time_while_it_is_shown() {
        let notes = Notes::default();
        let (holder, at) = (Holder::Worker(7.into()), |n| {
            SystemTime::UNIX_EPOCH + Duration::from_secs(n)
        });
        notes.settle(&holder, ["a".to_owned()], at(1));
        notes.settle(&holder, ["b".to_owned(), "a".to_owned()], at(2));
        let since = |text| notes.since(&holder, text);
        assert_eq!((since("a"), since("b")), (Some(at(1)), Some(at(2))));
        notes.settle(&holder, [], at(3));
        assert_eq!(since("a"), None);
        assert!(notes.inner.lock().is_empty());
    }
}
