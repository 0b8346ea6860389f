//! The user database.

use kubefwd_model::Uid;
use kubefwd_os::groups;
use nix::errno::Errno;
use nix::unistd::{Gid, User};

/// Why nothing could be found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// No such user.
    #[error("uid {0} has no entry in the user database: add the user, or run as another")]
    NoUser(Uid),
    /// The database did not answer.
    #[error("cannot look up {what} in the user database: {source}; is its service running?")]
    Database { what: String, source: Errno },
}

/// Looks a user up. May wait for a directory server.
///
/// # Errors
/// When there is no such user, or the database does not answer.
pub(crate) fn account(uid: Uid) -> Result<User, LookupError> {
    let found = User::from_uid(nix::unistd::Uid::from_raw(uid.get()));
    let found = found.map_err(unanswered(format!("uid {uid}")))?;
    found.ok_or(LookupError::NoUser(uid))
}

/// All groups of a user as the database has them now, the primary one first. May wait for a
/// directory server.
///
/// # Errors
/// When the database does not answer.
pub(crate) fn groups(account: &User) -> Result<Vec<Gid>, LookupError> {
    let found = groups::of(&account.name, account.gid);
    let mut groups = found.map_err(unanswered(format!("groups of {}", account.name)))?;
    // The system may give any order; callers take the first for the effective group.
    groups.retain(|gid| *gid != account.gid);
    groups.insert(0, account.gid);
    Ok(groups)
}

/// Whether a user is a member of the group of this name now. A group that does not exist has no
/// members. May wait for a directory server.
///
/// # Errors
/// When the database does not answer.
pub(crate) fn is_member(account: &User, group: &str) -> Result<bool, LookupError> {
    let found = groups::is_member(&account.name, account.gid, group);
    let found = found.map_err(unanswered(format!("group {group}")))?;
    Ok(found.unwrap_or(false))
}

fn unanswered(what: String) -> impl FnOnce(Errno) -> LookupError {
    |source| LookupError::Database { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Group;

    #[test]
    fn root_is_in_its_own_group() {
        let root = account(0.into()).unwrap();
        let wheel = Gid::from_raw(0);
        assert_eq!((root.gid, root.name.as_str()), (wheel, "root"));
        assert_eq!(groups(&root).unwrap()[0], wheel);
        let group = Group::from_gid(wheel).unwrap().unwrap();
        assert!(is_member(&root, &group.name).unwrap());
        assert!(!is_member(&root, "no-such-group-here").unwrap());
    }

    #[test]
    fn an_unknown_user_is_an_error_that_says_so() {
        let error = account(4_000_000_123.into()).unwrap_err();
        assert!(
            matches!(error, LookupError::NoUser(uid) if uid == Uid::new(4_000_000_123)),
            "{error}"
        );
    }
}
