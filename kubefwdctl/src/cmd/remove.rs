//! What `ns rm` and `svc rm` share.

use clap::Args;
use nix::unistd::User;
use serde::Serialize;
use tonic::Status;

use crate::error::CliError;
use crate::output::{Format, Output};

/// What to remove.
#[derive(Args, Debug)]
pub(crate) struct RemoveArgs {
    /// Keys as listed, or unambiguous prefixes of them
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        value_name = "KEY"
    )]
    keys: Vec<String>,
    /// All of yours
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    user: UserArgs,
}

impl RemoveArgs {
    /// The key of each request; one without a key for all.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Option<&str>> {
        let all = self.all.then_some(None);
        all.into_iter()
            .chain(self.keys.iter().map(|key| Some(key.as_str())))
    }

    /// The user whose objects to remove; absent: the caller.
    pub(crate) fn uid(&self) -> Option<u32> {
        self.user.user
    }
}

/// Whose objects.
#[derive(Args, Debug)]
pub(crate) struct UserArgs {
    /// Act on this user's objects (name or uid); root only
    #[arg(long, value_name = "USER", value_parser = user)]
    pub(crate) user: Option<u32>,
}

/// A user's name or number.
fn user(text: &str) -> Result<u32, String> {
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    match User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err("no such user".to_owned()),
        Err(error) => Err(format!("cannot look up the user: {error}")),
    }
}

/// Collects the answers of several removals: one failure does not stop the others.
#[derive(Debug)]
pub(crate) struct Removal {
    out: Output,
    removed: Vec<String>,
    failed: Option<u8>,
}

/// The structured form.
#[derive(Serialize)]
struct Removed<'a> {
    removed: &'a [String],
}

impl Removal {
    /// Nothing is removed yet.
    pub(crate) fn new(out: Output) -> Self {
        Self {
            out,
            removed: Vec::new(),
            failed: None,
        }
    }

    /// Takes one answer: the keys that were removed.
    ///
    /// # Errors
    /// [`CliError::Lost`], since no further request can succeed; [`CliError::Output`].
    pub(crate) fn take(
        &mut self,
        what: String,
        answer: Result<Vec<String>, Status>,
    ) -> Result<(), CliError> {
        let removed = match answer {
            Ok(removed) => removed,
            Err(status) => match CliError::from_status(what, &status) {
                lost @ CliError::Lost { .. } => return Err(lost),
                error => {
                    self.out.error(&error);
                    self.failed.get_or_insert(error.exit_code());
                    return Ok(());
                }
            },
        };
        let ending = match self.out.format {
            Format::Name => Some(""),
            _ if self.out.confirms() => Some(" removed"),
            _ => None,
        };
        if let Some(ending) = ending {
            let lines: String = removed
                .iter()
                .map(|key| format!("{key}{ending}\n"))
                .collect();
            self.out.data(&lines)?;
        }
        self.removed.extend(removed);
        Ok(())
    }

    /// Prints the structured form and returns the first failure's exit code.
    ///
    /// # Errors
    /// [`CliError::Reported`] if a removal failed; [`CliError::Output`].
    pub(crate) fn finish(self) -> Result<(), CliError> {
        if matches!(self.out.format, Format::Json | Format::Yaml) {
            let removed = &self.removed;
            self.out.value(&Removed { removed })?;
        } else if self.removed.is_empty() && self.failed.is_none() {
            self.out.note("nothing to remove");
        }
        self.failed
            .map_or(Ok(()), |code| Err(CliError::Reported(code)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_known_by_number_and_by_name() {
        assert_eq!(user("1000"), Ok(1000));
        assert_eq!(user("root"), Ok(0));
        assert!(user("nobody-of-that-name").is_err());
        assert!(user("-1").is_err());
    }
}
