//! Which user is behind a request: found from the kernel, fixed by the configuration, or proven by a token.

use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;
use http::header::{self, HeaderMap};
use kubefwd_core::policy::{Actor, RootOverTcp, Via};
use kubefwd_model::Uid;

use super::control::Control;
use super::error::{ApiError, Code};
use super::settings::Settings;

/// Shorter tokens can be guessed.
pub(super) const SHORTEST_TOKEN: usize = 16;

/// How a caller over TCP is identified.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// The kernel's socket table says who has the other end, and this rule what that means where it is root.
    Peer(RootOverTcp),
    /// Always this user.
    Fixed(Uid),
    /// A bearer token says who.
    Token(Arc<Tokens>),
}

/// Tokens and whose they are.
#[derive(Debug)]
pub(crate) struct Tokens(pub(super) Vec<(String, Uid)>);

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// A unix socket, with the user who connected.
    Unix {
        /// `None` where it does not say.
        uid: Option<Uid>,
    },
    /// TCP.
    Tcp {
        /// Its address.
        peer: SocketAddr,
        /// Ours.
        local: SocketAddr,
        /// The user who had it when it was accepted.
        accepted: Option<Uid>,
    },
    /// TCP that was closed before anything could be found out.
    Gone,
}

/// Why the configured identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No such way.
    #[error(
        "invalid configuration value rest.identity = {0:?}: it must be \"peer-uid\", \"fixed:UID\" or \"token\""
    )]
    Unknown(String),
    /// Every local program would be root.
    #[error(
        "invalid configuration value rest.identity = \"fixed:0\": every program on this machine would act as root; name \
         another user, or use the unix socket"
    )]
    Root,
    /// No such rule.
    #[error(
        "invalid configuration value rest.root = {0:?}: it must be \"auto\", \"member\" or \"never\""
    )]
    RootRule(String),
    /// Tokens without a file.
    #[error("rest.identity = \"token\" needs rest.token_file, a file of lines \"TOKEN UID\"")]
    NoFile,
    /// The file cannot be read.
    #[error("cannot read rest.token_file {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Others can read or replace the tokens.
    #[error(
        "rest.token_file {path} is not root's alone: run `chown root {path}; chmod 600 {path}`", path = path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// A malformed line.
    #[error(
        "rest.token_file {}, line {line}: it must be \"TOKEN UID\" with a token of at least {SHORTEST_TOKEN} characters",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: usize,
    },
}

// === impl Identity ===

impl Identity {
    /// Reads `peer-uid`, `fixed:UID` or `token`.
    pub(crate) fn parse(settings: Settings<'_>) -> Result<Self, IdentityError> {
        let text = settings.identity;
        let root = match settings.root {
            "auto" => RootOverTcp::Auto,
            "member" => RootOverTcp::Member,
            "never" => RootOverTcp::Never,
            other => return Err(IdentityError::RootRule(other.to_owned())),
        };
        if let Some(uid) = text.strip_prefix("fixed:") {
            let uid = uid
                .parse()
                .map_err(|_| IdentityError::Unknown(text.to_owned()))?;
            return match uid {
                Uid::ROOT => Err(IdentityError::Root),
                uid => Ok(Self::Fixed(uid)),
            };
        }
        match text {
            "peer-uid" => Ok(Self::Peer(root)),
            "token" => {
                let tokens = Tokens::read(settings.token_file.ok_or(IdentityError::NoFile)?)?;
                Ok(Self::Token(Arc::new(tokens)))
            }
            _ => Err(IdentityError::Unknown(text.to_owned())),
        }
    }
}

// === impl Tokens ===

impl Tokens {
    fn read(path: &Path) -> Result<Self, IdentityError> {
        use std::os::unix::fs::MetadataExt;
        let read = |error| IdentityError::Read {
            path: path.to_owned(),
            error,
        };
        // What is checked is what is read, whatever the path leads to a moment later.
        let mut file = File::open(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        let is_ours = [0, nix::unistd::geteuid().as_raw()].contains(&metadata.uid());
        if !is_ours || metadata.mode() & 0o077 != 0 {
            return Err(IdentityError::Open {
                path: path.to_owned(),
            });
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(read)?;
        Self::parse(&text).map_err(|line| IdentityError::Line {
            path: path.to_owned(),
            line,
        })
    }

    /// The tokens, or the number of the first malformed line.
    pub(super) fn parse(text: &str) -> Result<Self, usize> {
        let mut tokens = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(token), Some(uid), None) = (words.next(), words.next(), words.next()) else {
                return Err(number);
            };
            let uid = uid.parse().map_err(|_| number)?;
            if token.len() < SHORTEST_TOKEN {
                return Err(number);
            }
            tokens.push((token.to_owned(), uid));
        }
        Ok(Self(tokens))
    }

    pub(super) fn owner(&self, token: &str) -> Option<Uid> {
        // Every token is compared in full, so that the time taken tells nothing of them.
        let found = |found: Option<Uid>, (known, uid): &(String, Uid)| {
            if equal(known.as_bytes(), token.as_bytes()) {
                Some(*uid)
            } else {
                found
            }
        };
        self.0.iter().fold(None, found)
    }
}

// === impl Peer ===

impl Peer {
    /// The address that a TCP connection came to.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Unix { .. } | Self::Gone => None,
            Self::Tcp { local, .. } => Some(*local),
        }
    }

    /// The user who had the connection when it was accepted.
    pub(crate) fn accepted_uid(&self) -> Option<Uid> {
        match self {
            Self::Unix { uid } => *uid,
            Self::Tcp { accepted, .. } => *accepted,
            Self::Gone => None,
        }
    }
}

/// The user who sends a request with these headers over this connection.
pub(crate) async fn actor(
    control: &dyn Control,
    identity: &Identity,
    peer: &Peer,
    headers: &HeaderMap,
) -> Result<Actor, ApiError> {
    let (uid, via) = match (peer, identity) {
        (Peer::Unix { uid }, _) => (*uid, Via::UnixSocket),
        (Peer::Gone, _) => (None, Via::TcpPeer),
        (Peer::Tcp { .. }, Identity::Fixed(uid)) => (Some(*uid), Via::Configured),
        (Peer::Tcp { .. }, Identity::Token(tokens)) => {
            let uid = bearer(headers).and_then(|token| tokens.owner(token));
            if uid.is_none() {
                let message = "a valid token is required";
                let hint = "send it as Authorization: Bearer TOKEN; ask the administrator for one";
                let status = StatusCode::UNAUTHORIZED;
                return Err(ApiError::new(status, Code::Unauthorized, message).hint(hint));
            }
            (uid, Via::Token)
        }
        (
            Peer::Tcp {
                peer,
                local,
                accepted,
            },
            Identity::Peer(rule),
        ) => {
            // Who has closed or passed on the socket since then is nobody.
            let now = control.tcp_owner(*peer, *local).await;
            if now == Some(Uid::ROOT) && now == *accepted {
                return Ok(root_over_tcp(control, *rule).await);
            }
            (now.filter(|_| now == *accepted), Via::TcpPeer)
        }
    };
    Ok(match uid {
        Some(uid) => control.actor(uid, via).await,
        None => Actor::unknown(via),
    })
}

/// Root, as far as the rule lets a socket that root has made be root.
async fn root_over_tcp(control: &dyn Control, rule: RootOverTcp) -> Actor {
    let mut actor = control.actor(Uid::ROOT, Via::TcpPeer).await;
    if let Some(root) = &mut actor.user {
        root.member = rule.is_member(control.has_other_users().await);
    }
    actor
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares in a time that depends on the lengths only.
fn equal(left: &[u8], right: &[u8]) -> bool {
    let differing = left
        .iter()
        .zip(right)
        .fold(0, |differing, (a, b)| differing | (a ^ b));
    left.len() == right.len() && std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests;
