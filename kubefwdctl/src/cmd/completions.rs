//! `kubefwdctl completions`: scripts for shells.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Session;
use crate::cli::Cli;
use crate::error::CliError;

/// Shown after the help.
pub(crate) const HOW_TO: &str = "\
Packages install these scripts. To install one yourself:
  bash        kubefwdctl completions bash > ~/.local/share/bash-completion/completions/kubefwdctl
  zsh         kubefwdctl completions zsh > \"${fpath[1]}/_kubefwdctl\"
  fish        kubefwdctl completions fish > ~/.config/fish/completions/kubefwdctl.fish";

/// `completions`
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// [`CliError::Output`].
pub(crate) fn run(session: &Session, args: &CompletionsArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kubefwdctl", &mut script);
    session.out.data(&String::from_utf8_lossy(&script))
}
