//! The user database.

use std::path::PathBuf;

use kubefwd_model::Uid;
use kubefwd_os::groups;
use nix::errno::Errno;
use nix::unistd::{Gid, User};

/// What the user database says of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// The user's number.
    pub uid: Uid,
    /// The user's primary group.
    pub gid: u32,
    /// The login name.
    pub name: String,
    /// The home directory.
    pub home: PathBuf,
    /// The login shell.
    pub shell: PathBuf,
}

/// Why nothing could be found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// No such user.
    #[error("uid {0} has no entry in the user database: add the user, or run as another")]
    NoUser(Uid),
    /// The database did not answer.
    #[error("cannot look up {what} in the user database: {source}; is its service running?")]
    Database {
        /// A user or a group.
        what: String,
        /// What the system said.
        source: Errno,
    },
}

/// Looks a user up. May wait for a directory server.
///
/// # Errors
/// When there is no such user, or the database does not answer.
pub(crate) fn account(uid: Uid) -> Result<Account, LookupError> {
    let found = User::from_uid(nix::unistd::Uid::from_raw(uid.get()));
    let found = found.map_err(|source| LookupError::Database {
        what: format!("uid {uid}"),
        source,
    })?;
    let user = found.ok_or(LookupError::NoUser(uid))?;
    let (name, home, shell) = (user.name, user.dir, user.shell);
    Ok(Account {
        uid,
        gid: user.gid.as_raw(),
        name,
        home,
        shell,
    })
}

/// All groups of a user as the database has them now, the primary one first. May wait for a
/// directory server.
///
/// # Errors
/// When the database does not answer.
pub(crate) fn groups(account: &Account) -> Result<Vec<u32>, LookupError> {
    let failed = |source| LookupError::Database {
        what: format!("groups of {}", account.name),
        source,
    };
    let primary = Gid::from_raw(account.gid);
    let found = groups::of(&account.name, primary).map_err(failed)?;
    let mut groups: Vec<u32> = found.into_iter().map(Gid::as_raw).collect();
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
pub(crate) fn is_member(account: &Account, group: &str) -> Result<bool, LookupError> {
    let primary = Gid::from_raw(account.gid);
    let found = groups::is_member(&account.name, primary, group);
    let found = found.map_err(|source| LookupError::Database {
        what: format!("group {group}"),
        source,
    })?;
    Ok(found.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Group;

    #[test]
    fn root_is_in_its_own_group() {
        let root = account(0.into()).unwrap();
        assert_eq!(
            (root.uid, root.gid, root.name.as_str()),
            (Uid::ROOT, 0, "root")
        );
        assert_eq!(groups(&root).unwrap()[0], 0);
        let group = Group::from_gid(Gid::from_raw(0)).unwrap().unwrap();
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
