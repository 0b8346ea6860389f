//! A limit on the connections of each user, so that nobody can take the daemon's descriptors and memory from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kubefwd_model::Uid;

/// Counts the connections of each user.
#[derive(Debug, Clone)]
pub struct ConnectionLimiter {
    most: usize,
    users: Arc<Mutex<HashMap<Uid, Count>>>,
}

#[derive(Debug, Default)]
struct Count {
    open: usize,
    /// A refusal was reported.
    reported: bool,
}

/// One connection counts until this is dropped.
#[derive(Debug)]
pub struct Permit {
    limiter: ConnectionLimiter,
    uid: Uid,
}

/// A user has too many connections.
#[derive(Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// The first refusal since the user had no connection: worth a line in the log.
    pub is_first: bool,
}

// === impl ConnectionLimiter ===

impl ConnectionLimiter {
    /// At most `most` for each user.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            users: Arc::default(),
        }
    }

    /// Admits a connection of this user.
    ///
    /// # Errors
    /// When the user has too many.
    pub fn admit(&self, uid: Uid) -> Result<Permit, LimitReached> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let count = users.entry(uid).or_default();
        if count.open >= self.most {
            let is_first = !std::mem::replace(&mut count.reported, true);
            return Err(LimitReached { is_first });
        }
        count.open += 1;
        Ok(Permit {
            limiter: self.clone(),
            uid,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let users = &self.limiter.users;
        let mut users = users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = users.get_mut(&self.uid) {
            count.open -= 1;
            if count.open == 0 {
                users.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_limit_of_their_own() {
        let limiter = ConnectionLimiter::new(2);
        let first = limiter.admit(1.into()).unwrap();
        let _second = limiter.admit(1.into()).unwrap();
        assert_eq!(
            limiter.admit(1.into()).unwrap_err(),
            LimitReached { is_first: true }
        );
        assert_eq!(
            limiter.admit(1.into()).unwrap_err(),
            LimitReached { is_first: false }
        );
        let _other = limiter.admit(2.into()).unwrap();
        drop(first);
        let _again = limiter.admit(1.into()).unwrap();
        assert!(limiter.admit(1.into()).is_err());
    }

    #[test]
    fn nothing_is_remembered_of_users_who_are_gone() {
        let limiter = ConnectionLimiter::new(2);
        drop((
            limiter.admit(1.into()).unwrap(),
            limiter.admit(2.into()).unwrap(),
        ));
        assert!(limiter.users.lock().unwrap().is_empty());
    }
}
