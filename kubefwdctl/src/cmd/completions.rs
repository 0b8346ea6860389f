//! `kubefwdctl completions`: scripts for shells.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::CliError;
use crate::session::Session;

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

/// Prints the script for this grammar.
pub(crate) fn run(
    session: &Session,
    args: &CompletionsArgs,
    mut grammar: Command,
) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut grammar, "kubefwdctl", &mut script);
    session.out.data(&String::from_utf8_lossy(&script))
}
