//! `kubefwdctl reserve`: addresses reserved for services.

use std::net::Ipv4Addr;

use clap::{Args, Subcommand};
use kubefwd_proto::control::v1::{
    AddReservationRequest, ListReservationsRequest, RemoveReservationRequest, Reservation,
};

use super::Session;
use crate::error::CliError;
use crate::output::{listing, shape};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum ReserveCommand {
    /// Reserve an address for a service
    Add(ReserveAddArgs),
    /// Release an address
    #[command(aliases = ["remove", "delete"])]
    Rm(ReserveRmArgs),
    /// List reserved addresses
    #[command(alias = "list")]
    Ls,
}

/// `reserve add`
#[derive(Args, Debug)]
pub(crate) struct ReserveAddArgs {
    /// Service key: service.namespace.context, or pod.service.namespace.context
    #[arg(value_name = "KEY")]
    key: String,
    /// Loopback address
    #[arg(value_name = "ADDRESS")]
    address: Ipv4Addr,
}

/// `reserve rm`
#[derive(Args, Debug)]
pub(crate) struct ReserveRmArgs {
    /// Key or address
    #[arg(value_name = "KEY|ADDRESS")]
    target: String,
}

/// Runs one verb.
///
/// # Errors
/// What is left to report.
pub(crate) async fn run(session: &Session, command: ReserveCommand) -> Result<(), CliError> {
    match command {
        ReserveCommand::Add(args) => add(session, args).await,
        ReserveCommand::Rm(args) => remove(session, args).await,
        ReserveCommand::Ls => list(session).await,
    }
}

async fn add(session: &Session, args: ReserveAddArgs) -> Result<(), CliError> {
    let mut daemon = session.connect_to_change().await?;
    let what = format!("cannot reserve {} for {}", args.address, args.key);
    let reservation = Reservation {
        key: args.key.clone(),
        address: args.address.to_string(),
        ..Reservation::default()
    };
    let request = AddReservationRequest {
        reservation: Some(reservation),
    };
    let answer = daemon.control.add_reservation(request).await;
    answer.map_err(|status| CliError::from_status(what, &status))?;
    session
        .out
        .note(&format!("{} is reserved for {}", args.address, args.key));
    Ok(())
}

async fn remove(session: &Session, args: ReserveRmArgs) -> Result<(), CliError> {
    let mut daemon = session.connect_to_change().await?;
    let request = RemoveReservationRequest {
        target: args.target.clone(),
    };
    let answer = daemon.control.remove_reservation(request).await;
    answer.map_err(|status| {
        CliError::from_status(format!("cannot release {}", args.target), &status)
    })?;
    session
        .out
        .note(&format!("{} is no longer reserved", args.target));
    Ok(())
}

async fn list(session: &Session) -> Result<(), CliError> {
    let mut daemon = session.connect().await?;
    let answer = daemon
        .control
        .list_reservations(ListReservationsRequest {})
        .await;
    let reservations: Vec<_> = answer
        .map_err(|status| CliError::from_status("cannot list reserved addresses", &status))?
        .into_inner()
        .reservations
        .into_iter()
        .map(shape::Reservation::from)
        .collect();
    listing::print(&session.out, &reservations, "no addresses are reserved")
}
