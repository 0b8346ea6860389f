//! Members of groups, as the user database has them now.

use nix::unistd::{Group, Uid, User};

/// Whether a user is a member of the group of this name; false if either does not exist. May wait for a directory server.
///
/// # Errors
/// When the database does not answer.
pub fn is_member(uid: u32, group: &str) -> nix::Result<bool> {
    let Some(group) = Group::from_name(group)? else {
        return Ok(false);
    };
    let Some(user) = User::from_uid(Uid::from_raw(uid))? else {
        return Ok(false);
    };
    // Large directories may truncate one of the two lists.
    if user.gid == group.gid || group.mem.contains(&user.name) {
        return Ok(true);
    }
    is_in_list(&user, &group)
}

#[cfg(not(target_os = "macos"))]
fn is_in_list(user: &User, group: &Group) -> nix::Result<bool> {
    let name = std::ffi::CString::new(user.name.as_str()).map_err(|_| nix::Error::EINVAL)?;
    Ok(nix::unistd::getgrouplist(&name, user.gid)?.contains(&group.gid))
}

/// The daemon does not limit access on macOS.
#[cfg(target_os = "macos")]
fn is_in_list(_user: &User, _group: &Group) -> nix::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_looked_up() {
        let root = Group::from_gid(0.into()).unwrap().unwrap();
        assert_eq!(is_member(0, &root.name), Ok(true));
        assert_eq!(is_member(0, "no-such-group-here"), Ok(false));
        assert_eq!(is_member(4_000_000_123, &root.name), Ok(false));
    }
}
