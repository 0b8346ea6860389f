//! Bounded records, a ring for each user: nobody can push another's out.

use std::collections::{BTreeMap, VecDeque};

use kubefwd_model::Uid;

/// Something that is recorded.
pub(super) trait Record: Clone {
    /// Grows with every record of any user.
    fn id(&self) -> u64;
}

/// The records of everybody, each user's oldest first.
pub(super) struct Rings<T> {
    last_id: u64,
    users: BTreeMap<Uid, VecDeque<T>>,
}

impl<T> Default for Rings<T> {
    fn default() -> Self {
        Self {
            last_id: 0,
            users: BTreeMap::new(),
        }
    }
}

// === impl Rings ===

impl<T: Record> Rings<T> {
    /// The id of the next record.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The records of one user.
    pub(super) fn of(&mut self, uid: Uid) -> &mut VecDeque<T> {
        self.users.entry(uid).or_default()
    }

    /// The newest that `wanted` lets through, of the users that `sees` does; newest first.
    pub(super) fn newest(
        &self,
        limit: usize,
        sees: impl Fn(Uid) -> bool,
        wanted: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        let mut found: Vec<&T> = Vec::new();
        for ring in self.seen(sees) {
            found.extend(ring.iter().rev().filter(|one| wanted(one)).take(limit));
        }
        found.sort_by_key(|one| std::cmp::Reverse(one.id()));
        found.into_iter().take(limit).cloned().collect()
    }

    /// How many are kept of the users that `sees` lets through.
    pub(super) fn count(&self, sees: impl Fn(Uid) -> bool) -> usize {
        self.seen(sees).map(VecDeque::len).sum()
    }

    fn seen(&self, sees: impl Fn(Uid) -> bool) -> impl Iterator<Item = &VecDeque<T>> {
        let seen = self.users.iter().filter(move |(uid, _)| sees(**uid));
        seen.map(|(_, ring)| ring)
    }
}
