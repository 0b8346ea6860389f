//! Who is in which group, as the user database has it now. Each question may wait for a directory server.

use std::ffi::CString;

use nix::Result;
use nix::errno::Errno;
use nix::unistd::{Gid, Group};

/// All groups of a user, the primary one among them.
///
/// # Errors
/// When the database does not answer.
pub fn of(user: &str, primary: Gid) -> Result<Vec<Gid>> {
    let user = CString::new(user).map_err(|_| Errno::EINVAL)?;
    system::list(&user, primary)
}

/// Whether a user is a member of the group of this name; `None` where there is no such group.
///
/// # Errors
/// When the database does not answer.
pub fn is_member(user: &str, primary: Gid, group: &str) -> Result<Option<bool>> {
    let Some(group) = Group::from_name(group)? else {
        return Ok(None);
    };
    // The list in the group's own entry and the user's list agree in most databases; where one
    // of them is cut short (large directories), either will do.
    let listed = group.gid == primary || group.mem.iter().any(|member| member == user);
    Ok(Some(listed || of(user, primary)?.contains(&group.gid)))
}

/// Whether the group of this name lists members other than root. Whoever has it as their primary group is not listed.
///
/// # Errors
/// When the database does not answer.
pub fn has_members(group: &str) -> Result<bool> {
    let found = Group::from_name(group)?;
    Ok(found.is_some_and(|group| group.mem.iter().any(|member| member != "root")))
}

#[cfg(not(target_os = "macos"))]
mod system {
    pub(super) use nix::unistd::getgrouplist as list;
}

#[cfg(target_os = "macos")]
mod system {
    //! The call takes signed numbers here, and nix does not offer it.

    use std::ffi::CStr;

    use nix::errno::Errno;
    use nix::libc;
    use nix::unistd::Gid;

    pub(super) fn list(user: &CStr, primary: Gid) -> nix::Result<Vec<Gid>> {
        let mut capacity: usize = 64;
        while capacity <= 65_536 {
            let mut groups = vec![0 as libc::c_int; capacity];
            let mut count = libc::c_int::try_from(capacity).map_err(|_| Errno::EINVAL)?;
            #[expect(unsafe_code, reason = "there is no safe form of it")]
            // SAFETY: the name ends in NUL; the system writes at most `count` numbers into a buffer of that many.
            let result = unsafe {
                libc::getgrouplist(
                    user.as_ptr(),
                    primary.as_raw().cast_signed(),
                    groups.as_mut_ptr(),
                    &mut count,
                )
            };
            if result == 0 {
                groups.truncate(usize::try_from(count).unwrap_or_default());
                let groups = groups.into_iter().map(i32::cast_unsigned);
                return Ok(groups.map(Gid::from_raw).collect());
            }
            capacity *= 4;
        }
        Err(Errno::ERANGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_in_its_own_group() {
        let primary = Gid::from_raw(0);
        let group = Group::from_gid(primary).unwrap().unwrap();
        assert!(of("root", primary).unwrap().contains(&primary));
        assert_eq!(is_member("root", primary, &group.name), Ok(Some(true)));
        assert_eq!(is_member("root", primary, "no-such-group-here"), Ok(None));
        let other = Gid::from_raw(4_000_000_123);
        assert_eq!(
            is_member("no-such-user-here", other, &group.name),
            Ok(Some(false))
        );
    }
}
