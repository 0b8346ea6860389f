//! The number of a user.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A user of this machine, by number (`uid_t`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Uid(u32);

// === impl Uid ===

impl Uid {
    /// The superuser.
    pub const ROOT: Self = Self(0);

    /// The user with this number.
    pub const fn new(uid: u32) -> Self {
        Self(uid)
    }

    /// The number, for the operating system and the wire.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether this is the superuser.
    pub const fn is_root(self) -> bool {
        self.0 == 0
    }
}

impl From<u32> for Uid {
    fn from(uid: u32) -> Self {
        Self(uid)
    }
}

impl From<Uid> for u32 {
    fn from(uid: Uid) -> Self {
        uid.0
    }
}

impl FromStr for Uid {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
