//! The number of a user.

use derive_more::{Display, From, FromStr, Into};
use serde::{Deserialize, Serialize};

/// A user of this machine, by number (`uid_t`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
#[derive(Display, From, FromStr, Into)]
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
