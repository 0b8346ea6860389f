//! The options of `ns add` and `svc add`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use kubefwd_proto::common::v1::{Balance, PortMapping};
use kubefwd_proto::control::v1::Options;

use crate::cluster::ClusterArgs;
use crate::parse;

/// Settings for everything that one command adds.
#[derive(Args, Debug)]
pub(crate) struct AddSettings {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Map a service port to a different local port (repeatable)
    #[arg(long, value_name = "SERVICE_PORT:LOCAL_PORT", value_parser = parse::port_mapping, help_heading = "Forwarding")]
    port_map: Vec<PortMapping>,
    /// Also add names under this domain, such as SERVICE.DOMAIN
    #[arg(long, value_name = "DOMAIN", help_heading = "Forwarding")]
    domain: Option<String>,
    /// How to pick a ready pod for each new connection: primary, round-robin or least-connections [default: primary]
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        hide_possible_values = true,
        help_heading = "Forwarding"
    )]
    balance: Option<BalanceChoice>,
    /// Add it even if the cluster is unreachable or the object does not exist yet
    #[arg(long, help_heading = "Forwarding")]
    defer: bool,
    /// Wait until every service is active, for 30s unless TIME is given; exits with 3 on timeout
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "30s",
        value_parser = parse::duration,
        help_heading = "Duration"
    )]
    pub(crate) wait: Option<Duration>,
    /// Forward only while this command runs
    #[arg(long, help_heading = "Duration")]
    pub(super) attach: bool,
}

/// How a ready pod is picked for each new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BalanceChoice {
    /// The same pod while it is ready
    Primary,
    /// Each in turn
    RoundRobin,
    /// The one with the fewest connections
    LeastConnections,
}

impl AddSettings {
    /// In the form of the daemon's API.
    pub(crate) fn to_options(&self) -> Options {
        let balance = match self.balance {
            None => Balance::Unspecified,
            Some(BalanceChoice::Primary) => Balance::Primary,
            Some(BalanceChoice::RoundRobin) => Balance::RoundRobin,
            Some(BalanceChoice::LeastConnections) => Balance::LeastConnections,
        };
        Options {
            port_mappings: self.port_map.clone(),
            domain: self.domain.clone().unwrap_or_default(),
            balance: balance.into(),
            defer: self.defer,
        }
    }
}
