//! The grammar of the command line: nouns, then verbs.

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::cmd;
use crate::error::CliError;
use crate::session::{GlobalArgs, Session};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed
  2    wrong usage
  3    degraded, or --wait timed out
  4    permission denied, by the daemon or by the cluster
  5    daemon unreachable
  6    not found
  130  interrupted

Getting started:
  kubefwdctl ns add NAMESPACE --wait    forward a namespace, then reach its services by name
  kubefwdctl svc ls                     list services and their addresses
  kubefwdctl doctor                     diagnose problems and suggest fixes";

/// Reach Kubernetes services by name from this machine
#[derive(Debug, Parser)]
#[command(
    name = "kubefwdctl",
    version,
    after_help = EXIT_CODES,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    infer_long_args = false
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Forward whole namespaces
    #[command(subcommand, aliases = ["namespace", "namespaces"])]
    Ns(cmd::ns::NsCommand),
    /// Forward single services and list all forwarded ones
    #[command(subcommand, aliases = ["service", "services", "svcs"])]
    Svc(cmd::svc::SvcCommand),
    /// List and reconnect forwarded ports
    #[command(subcommand, aliases = ["forward", "forwards"])]
    Fwd(cmd::fwd::FwdCommand),
    /// Reserve addresses for services
    #[command(subcommand, aliases = ["reservation", "reservations"])]
    Reserve(cmd::reserve::ReserveCommand),
    /// Allow names that are refused by default
    #[command(subcommand, alias = "name")]
    Names(cmd::names::NamesCommand),
    /// List the contexts of your kubeconfig
    #[command(subcommand, alias = "contexts")]
    Context(cmd::context::ContextCommand),
    /// Show daemon status; exits with 3 unless healthy
    Status(cmd::status::StatusArgs),
    /// Show events
    Events(cmd::events::EventsArgs),
    /// Show host names and the addresses they resolve to
    Hosts,
    /// Diagnose problems and suggest fixes; exits with 3 if it finds any
    Doctor,
    /// Show client and daemon versions
    Version(cmd::version::VersionArgs),
    /// Print a shell completion script
    #[command(after_help = cmd::completions::HOW_TO)]
    Completions(cmd::completions::CompletionsArgs),
}

impl Command {
    /// Runs it.
    ///
    /// # Errors
    /// What is left to report, and the exit code with it.
    pub(crate) async fn run(self, session: &Session) -> Result<(), CliError> {
        match self {
            Self::Ns(command) => cmd::ns::run(session, command).await,
            Self::Svc(command) => cmd::svc::run(session, command).await,
            Self::Fwd(command) => cmd::fwd::run(session, command).await,
            Self::Reserve(command) => cmd::reserve::run(session, command).await,
            Self::Names(command) => cmd::names::run(session, command).await,
            Self::Context(command) => cmd::context::run(session, command).await,
            Self::Status(args) => cmd::status::run(session, &args).await,
            Self::Events(args) => cmd::events::run(session, &args).await,
            Self::Hosts => cmd::hosts::run(session).await,
            Self::Doctor => cmd::doctor::run(session).await,
            Self::Version(args) => cmd::version::run(session, &args).await,
            Self::Completions(args) => cmd::completions::run(session, &args, Cli::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("kubefwdctl").chain(line.split(' ')))
    }

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lines_of_the_grammar_are_accepted() {
        for line in [
            "ns add demo",
            "ns add demo staging --context real --kubeconfig a --kubeconfig b -l app=x -f metadata.name=db",
            "ns add demo --include a* --include b --exclude c --port-map 80:8080 --port-map 443:8443",
            "ns add demo --domain example.test --balance round-robin --defer --wait --attach",
            "ns add --wait demo",
            "ns add demo --wait=1m30s -o json",
            "-o yaml ns ls -w",
            "ns ls -A",
            "ns rm demo other.real",
            "ns rm --all",
            "ns rm --all --user 1000",
            "namespace ls",
            "svc add demo/db demo/api:80,443 --wait",
            "svc add demo/db --local-ip 127.9.9.9",
            "svc rm db.demo.real",
            "svc capture off db.demo.real demo.other.real --user 1000",
            "svc ls -n demo --context real --all-users -w -o wide",
            "fwd ls -w",
            "fwd reconnect db.demo.real",
            "fwd reconnect --all",
            "fwd reconnect --failed",
            "reserve add db.demo.real 127.9.9.9",
            "reserve rm 127.9.9.9",
            "reserve ls",
            "names allow dev",
            "names deny dev",
            "names ls -o json",
            "context ls --kubeconfig x",
            "status -w",
            "events -w --since 5m -n 50",
            "hosts -o json",
            "doctor --socket /tmp/x",
            "version --client",
            "completions bash",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn lines_that_cannot_mean_anything_are_usage_errors() {
        for line in [
            "ns add",
            "ns rm",
            "ns rm demo --all",
            "ns add demo --wait=soon",
            "ns add demo --port-map 80",
            "ns add demo --balance fair",
            "svc add db",
            "svc add demo/db:http",
            "svc add demo/db --local-ip nowhere",
            "svc add demo/db demo/api --local-ip 127.9.9.9 --nonsense",
            "svc rm",
            "fwd reconnect",
            "fwd reconnect x --all",
            "fwd reconnect --all --failed",
            "reserve add db.demo.real",
            "reserve add db.demo.real ::1",
            "events -n many",
            "-q -v status",
            "-o xml status",
            "completions sh",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn wait_has_a_default_time_and_does_not_eat_the_next_word() {
        let Command::Ns(cmd::ns::NsCommand::Add(add)) =
            parse("ns add --wait demo").expect("valid").command
        else {
            panic!("another command");
        };
        assert_eq!(add.namespaces, ["demo"]);
        assert_eq!(add.settings.wait, Some(std::time::Duration::from_secs(30)));
    }
}
