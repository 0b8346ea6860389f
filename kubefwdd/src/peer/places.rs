//! How many connections each user may have at a time, so that nobody can take the daemon's descriptors and memory from the
//! others.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use kubefwd_model::Uid;

/// How many connections each user has.
#[derive(Debug, Clone)]
pub struct Places {
    most: usize,
    users: Arc<Mutex<HashMap<Uid, Count>>>,
}

#[derive(Debug, Default)]
struct Count {
    taken: usize,
    /// It was said already.
    is_full: bool,
}

/// Taken by one connection, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    uid: Uid,
}

/// All places of a user are taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// The first that was refused since the user had no connection at all: worth a line in the log.
    pub is_news: bool,
}

// === impl Places ===

impl Places {
    /// So many for each user.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            users: Arc::default(),
        }
    }

    /// Takes a place for a connection of this user.
    ///
    /// # Errors
    /// When the user has taken all of them.
    pub fn take(&self, uid: Uid) -> Result<Place, Taken> {
        let mut users = self.users.lock();
        let count = users.entry(uid).or_default();
        if count.taken >= self.most {
            let is_news = !std::mem::replace(&mut count.is_full, true);
            return Err(Taken { is_news });
        }
        count.taken += 1;
        Ok(Place {
            places: self.clone(),
            uid,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let users = &self.places.users;
        let mut users = users.lock();
        if let Some(count) = users.get_mut(&self.uid) {
            count.taken -= 1;
            if count.taken == 0 {
                users.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_places_of_their_own_and_gets_them_back() {
        let places = Places::new(2);
        let first = places.take(1.into()).unwrap();
        let _second = places.take(1.into()).unwrap();
        assert_eq!(places.take(1.into()).unwrap_err(), Taken { is_news: true });
        assert_eq!(places.take(1.into()).unwrap_err(), Taken { is_news: false });
        let _other = places.take(2.into()).unwrap();
        drop(first);
        let _again = places.take(1.into()).unwrap();
        assert!(places.take(1.into()).is_err());
    }

    #[test]
    fn nothing_is_remembered_of_users_who_are_gone() {
        let places = Places::new(2);
        drop((
            places.take(1.into()).unwrap(),
            places.take(2.into()).unwrap(),
        ));
        assert!(places.users.lock().is_empty());
    }
}
