//! `kubefwdctl reserve`: addresses reserved for services.

use std::net::Ipv4Addr;

use clap::{Args, Subcommand};
use kubefwd_proto::control::v1::{
    self as pb, AddReservationRequest, ListReservationsRequest, RemoveReservationRequest,
};
use serde::Serialize;

use crate::error::{Answer as _, CliError};
use crate::item::user_name;
use crate::output::listing::{self, Column, Listed};
use crate::output::rows::or_dash;
use crate::session::Session;

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

/// An address reserved for a service.
#[derive(Serialize)]
struct Reservation {
    key: String,
    #[serde(rename = "localIP")]
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<u32>,
    #[serde(skip)]
    owner_name: String,
    /// It comes from the daemon's configuration file.
    configured: bool,
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
    let reservation = pb::Reservation {
        key: args.key.clone(),
        address: args.address.to_string(),
        ..pb::Reservation::default()
    };
    let request = AddReservationRequest {
        reservation: Some(reservation),
    };
    let answer = daemon.control.add_reservation(request).await;
    answer.answered(what)?;
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
    answer.answered(format!("cannot release {}", args.target))?;
    session
        .out
        .note(&format!("{} is no longer reserved", args.target));
    Ok(())
}

async fn list(session: &Session) -> Result<(), CliError> {
    let mut daemon = session.connect().await?;
    let request = ListReservationsRequest {};
    let answer = daemon.control.list_reservations(request).await;
    let answer = answer.answered("cannot list reserved addresses")?;
    let reservations = answer.reservations.into_iter();
    let reservations: Vec<_> = reservations.map(Reservation::from).collect();
    let if_none = "no addresses are reserved";
    listing::print(&session.out, "reservations", &reservations, if_none)
}

impl From<pb::Reservation> for Reservation {
    fn from(reservation: pb::Reservation) -> Self {
        let owner = (!reservation.configured).then_some(reservation.uid);
        Self {
            owner_name: owner.map_or_else(String::new, |uid| user_name(&reservation.user, uid)),
            owner,
            key: reservation.key,
            address: reservation.address,
            configured: reservation.configured,
        }
    }
}

impl Listed for Reservation {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("ADDRESS", |it| it.address.as_str().into()),
        Column::new("KEY", |it| it.key.as_str().into()),
        Column::new("OWNER", |it| or_dash(&it.owner_name)),
        Column::new("FROM", |it| match it.configured {
            true => "configuration".into(),
            false => "request".into(),
        }),
    ];

    fn key(&self) -> String {
        self.key.clone()
    }
}
