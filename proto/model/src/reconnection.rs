//! Why a tunnel was reopened.

use crate::words::words;

words! {
    /// Why a tunnel was reopened.
    pub enum Trigger {
        /// It was lost.
        Auto = "auto",
        /// Somebody asked for it.
        Manual = "manual",
        /// Somebody asked for a sync with the cluster.
        Sync = "sync",
    }
}
