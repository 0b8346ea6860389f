//! Who may do what: the one function that both faces of the control plane ask.

use kubefwd_model::{Failure, Reason, Uid};

/// The group whose members may use the daemon.
pub const GROUP: &str = "kubefwd";

/// Where REST can be asked by a user whom nobody can pretend to be.
const REST_SOCKET: &str = match cfg!(target_os = "macos") {
    true => "/var/run/kubefwd-rest.sock",
    false => "/run/kubefwd/rest.sock",
};

/// The command that puts a user into [`GROUP`], up to the user's name.
const JOIN: &str = if cfg!(target_os = "macos") {
    "sudo dseditgroup -o edit -t group -a"
} else {
    "sudo usermod -aG"
};

/// Who may connect to forwarded ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Everyone while one user has forwards, else as [`Access::Owner`].
    #[default]
    Auto,
    /// The user who forwards, root, and members of [`GROUP`].
    Owner,
    /// Every local user.
    Everyone,
}

impl Access {
    /// Whether connections are looked at, with this many users who have forwards.
    #[must_use]
    pub fn is_limited(self, users: usize) -> bool {
        match self {
            // Whose connection it is cannot be found out by a worker on macOS.
            Self::Auto => users > 1 && !cfg!(target_os = "macos"),
            Self::Owner => true,
            Self::Everyone => false,
        }
    }
}

/// Whether uid 0 counts over TCP, where it says no more than that root created the socket: relays, containers of the
/// host's network and sockets of systemd units are root's too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RootOverTcp {
    /// As a member while nobody else can use the daemon.
    #[default]
    Auto,
    /// As a member of [`GROUP`].
    Member,
    /// As nobody.
    Never,
}

impl RootOverTcp {
    /// Whether root counts as a member, where `others` says that the group has members or other users have forwards.
    #[must_use]
    pub fn is_member(self, others: bool) -> bool {
        match self {
            Self::Auto => !others,
            Self::Member => true,
            Self::Never => false,
        }
    }
}

/// How the identity of an actor was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// Peer credentials of a unix socket: the kernel's word for who connected.
    UnixSocket,
    /// The owner of the peer's TCP socket in the kernel's table: who *created* that socket, which
    /// for relays run by root is not who speaks.
    TcpPeer,
    /// The configuration gives every caller of the TCP interface this identity.
    Configured,
    /// A bearer token of this user.
    Token,
}

/// A user of this machine, and whether the daemon's group has them as a member just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's number.
    pub uid: Uid,
    /// The user's primary group.
    pub gid: u32,
    /// The user's name, where the user database has one; for messages only.
    pub name: Option<String>,
    /// Whether the user is a member of [`GROUP`], looked up for this request; for root over TCP, whether
    /// [`RootOverTcp`] makes it one.
    pub member: bool,
}

/// Who asks. `user` is `None` where the kernel could not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The user.
    pub user: Option<User>,
    /// How the user was found.
    pub via: Via,
}

/// What is asked, as coarse as the policy needs it. Version and health are for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Lists, details, events, logs and counters of forwards; the daemon's status.
    Observe,
    /// Adding, removing, reconnecting, reserving.
    Change,
    /// Questions to the cluster through the owner's worker: discovery, pod logs.
    AskCluster,
    /// The daemon itself: log level, reload, clearing its log.
    Administer,
}

impl Actor {
    /// Somebody of whom the kernel could not tell who they are.
    #[must_use]
    pub const fn unknown(via: Via) -> Self {
        Self { user: None, via }
    }

    /// The uid, where it is known.
    #[must_use]
    pub fn uid(&self) -> Option<Uid> {
        self.user.as_ref().map(|user| user.uid)
    }

    /// Whether the actor acts as root: uid 0 by an identity that is more than a gate.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.uid() == Some(Uid::ROOT) && self.via != Via::TcpPeer
    }

    /// Whether forwards of `owner` are shown to the actor, for filtering lists.
    #[must_use]
    pub fn sees(&self, owner: Uid) -> bool {
        authorize(self, Verb::Observe, Some(owner)).is_ok()
    }
}

/// Whether `actor` may do `verb` to what `owner` has. `owner` is `None` where nobody in particular
/// owns it.
///
/// # Errors
/// When denied; the failure is what the caller is told.
pub fn authorize(actor: &Actor, verb: Verb, owner: Option<Uid>) -> Result<(), Failure> {
    let Some(user) = &actor.user else {
        let hint = "use kubefwdctl or the unix socket, whose peer is always known";
        let why = "the user behind this connection could not be determined";
        return denied(why, hint);
    };
    if actor.is_root() {
        return Ok(());
    }
    if !user.member {
        return match user.uid.is_root() {
            true => denied(
                "over TCP, root is not trusted while other users can use kubefwd",
                format!(
                    "use the unix socket (`curl --unix-socket {REST_SOCKET} http://localhost/...`), or set \
                     rest.root = \"member\" in kubefwdd.toml"
                ),
            ),
            false => not_member(user),
        };
    }
    if verb == Verb::Administer {
        let hint = "run it with `sudo kubefwdctl`";
        return denied("only root may change the daemon itself", hint);
    }
    match owner {
        Some(owner) if owner != user.uid => {
            let why =
                format!("it belongs to user {owner}, and a user acts on their own forwards only");
            denied(&why, "root may, with `sudo kubefwdctl`")
        }
        _ => Ok(()),
    }
}

fn not_member(user: &User) -> Result<(), Failure> {
    let user = user.name.clone().unwrap_or_else(|| user.uid.to_string());
    let why = format!("user {user} is not root and not in group {GROUP}");
    let order = match cfg!(target_os = "macos") {
        true => format!("{user} {GROUP}"),
        false => format!("{GROUP} {user}"),
    };
    let hint = format!("run `{JOIN} {order}` (takes effect immediately, no need to log in again)");
    denied(&why, hint)
}

fn denied(why: &str, hint: impl Into<String>) -> Result<(), Failure> {
    let message = format!("permission denied: {why}");
    Err(Failure::new(Reason::PermissionDenied, message).hint(hint))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VERBS: [Verb; 4] = [
        Verb::Observe,
        Verb::Change,
        Verb::AskCluster,
        Verb::Administer,
    ];

    fn actor(uid: u32, member: bool, via: Via) -> Actor {
        Actor {
            user: Some(User {
                uid: Uid::new(uid),
                gid: uid,
                name: Some("ann".to_owned()),
                member,
            }),
            via,
        }
    }

    fn allowed(actor: &Actor, owner: Option<u32>) -> Vec<Verb> {
        VERBS
            .into_iter()
            .filter(|verb| authorize(actor, *verb, owner.map(Uid::new)).is_ok())
            .collect()
    }

    #[test]
    fn root_may_do_anything_to_anyone() {
        let root = actor(0, false, Via::UnixSocket);
        assert_eq!(allowed(&root, Some(1000)), VERBS);
        assert_eq!(allowed(&root, None), VERBS);
    }

    #[test]
    fn a_member_acts_on_their_own() {
        let ann = actor(1000, true, Via::TcpPeer);
        let own = [Verb::Observe, Verb::Change, Verb::AskCluster];
        assert_eq!(allowed(&ann, Some(1000)), own);
        assert_eq!(allowed(&ann, None), own);
        assert_eq!(allowed(&ann, Some(1001)), []);
        assert!(ann.sees(Uid::new(1000)) && !ann.sees(Uid::ROOT));
    }

    #[test]
    fn others_and_the_unknown_may_do_nothing() {
        let outsider = actor(1000, false, Via::UnixSocket);
        let unknown = Actor {
            user: None,
            via: Via::TcpPeer,
        };
        for actor in [outsider, unknown] {
            for owner in [None, Some(1000), Some(0)] {
                assert_eq!(allowed(&actor, owner), []);
            }
        }
    }

    #[test]
    fn root_over_tcp_has_no_more_than_its_own() {
        assert!(RootOverTcp::Auto.is_member(false) && RootOverTcp::Member.is_member(true));
        for (rule, others) in [(RootOverTcp::Auto, true), (RootOverTcp::Never, false)] {
            let relay = actor(0, rule.is_member(others), Via::TcpPeer);
            assert_eq!(allowed(&relay, Some(0)), []);
            let denied = authorize(&relay, Verb::Observe, None).unwrap_err();
            assert!(denied.hint.contains("rest.root"), "{denied}");
        }
        let relay = actor(0, true, Via::TcpPeer);
        assert!(authorize(&relay, Verb::Change, Some(Uid::ROOT)).is_ok());
        let denied = authorize(&relay, Verb::Change, Some(Uid::new(1000))).unwrap_err();
        assert!(denied.message.contains("user 1000"), "{denied}");
        assert!(authorize(&relay, Verb::Administer, None).is_err());
    }

    #[test]
    #[cfg(not(target_os = "macos"))]
    fn a_denied_user_is_told_the_command() {
        let denied = authorize(&actor(1000, false, Via::UnixSocket), Verb::Change, None);
        let text = denied.unwrap_err().hint;
        assert!(text.contains("`sudo usermod -aG kubefwd ann`"), "{text}");
        assert!(text.contains("immediately"), "{text}");
    }

    proptest! {
        #[test]
        fn nobody_but_root_touches_another_user(
            uid in 0..3u32, owner in 0..3u32, member: bool, tcp: bool,
        ) {
            let via = if tcp { Via::TcpPeer } else { Via::UnixSocket };
            let actor = actor(uid, member, via);
            if authorize(&actor, Verb::Change, Some(Uid::new(owner))).is_ok() {
                prop_assert!(owner == uid || (uid == 0 && !tcp));
                prop_assert!(member || (uid == 0 && !tcp));
            }
        }
    }
}
