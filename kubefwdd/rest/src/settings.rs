//! The configuration of REST, as it is written.

use std::path::Path;

/// What the configuration says of REST.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// `address:port`, or `off`.
    pub listen: &'a str,
    /// `peer-uid`, `fixed:UID` or `token`.
    pub identity: &'a str,
    /// The file of tokens.
    pub token_file: Option<&'a Path>,
    /// With `peer-uid`, who uid 0 is: `auto`, `member` or `never`.
    pub root: &'a str,
}
