//! What `ns rm` and `svc rm` share.

use clap::Args;
use nix::unistd::User;
use serde::Serialize;
use tonic::Status;

use super::failures::Failures;
use crate::connect::Daemon;
use crate::error::CliError;
use crate::session::Session;

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
    pub(crate) user: UserArgs,
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

/// The structured form.
#[derive(Serialize)]
struct Removed {
    removed: Vec<String>,
}

/// Removes what the arguments name, by `request`, to which no key means all. One failure does not stop the others; a lost
/// connection does. `kinds` says what is removed, one and all of them.
///
/// # Errors
/// [`CliError::Reported`] if a removal failed; [`CliError::Lost`]; [`CliError::Output`].
pub(crate) async fn run(
    session: &Session,
    args: &RemoveArgs,
    (one, all): (&str, &str),
    request: impl AsyncFn(&mut Daemon, String) -> Result<Vec<String>, Status>,
) -> Result<(), CliError> {
    let out = &session.out;
    let mut daemon = session.connect_to_change().await?;
    let (mut removed, mut failures) = (Vec::new(), Failures::new(*out));
    let whole = args.all.then_some("");
    for key in whole
        .into_iter()
        .chain(args.keys.iter().map(String::as_str))
    {
        let what = match args.all {
            true => format!("cannot stop forwarding all {all}"),
            false => format!("cannot stop forwarding {one} {key}"),
        };
        let answer = request(&mut daemon, key.to_owned()).await;
        if let Some(keys) = failures.check(answer, what)? {
            out.confirm(&keys, " removed")?;
            removed.extend(keys);
        }
    }
    if out.is_structured() {
        out.value(&Removed { removed })?;
    } else if removed.is_empty() && failures.is_empty() {
        out.note("nothing to remove");
    }
    failures.end(Ok(()))
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
