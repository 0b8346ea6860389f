//! Requests of the control protocol, with any content.

use kubefwd_core::policy::Actor;
use kubefwd_core::requests::Reconnect;
use kubefwd_core::state::Which;
use kubefwd_model::{Failure, Uid};
use kubefwd_proto::control::v1 as pb;
use prost::Message;

use super::{decode, encode};
use crate::control::Control;

/// Carries out one request, as the service does. Bytes that are none are left alone, as tonic refuses them.
pub(crate) async fn call(
    control: &Control,
    actor: &Actor,
    kind: u8,
    message: &[u8],
) -> Result<(), Failure> {
    match kind % 9 {
        0 => {
            if let Ok(request) = pb::AddNamespaceRequest::decode(message) {
                let request = decode::namespace_request(request, None)?;
                control.add_namespace(actor, request).await?;
            }
        }
        1 => {
            if let Ok(request) = pb::AddServiceRequest::decode(message) {
                let request = decode::service_request(request, None)?;
                control.add_service(actor, request).await?;
            }
        }
        2 => {
            if let Ok(request) = pb::RemoveNamespaceRequest::decode(message) {
                let uid = request.uid.map(Uid::new);
                let which = Which::Named(request.key);
                control.remove_namespaces(actor, uid, which).await?;
            }
        }
        3 => {
            if let Ok(request) = pb::RemoveServiceRequest::decode(message) {
                let uid = request.uid.map(Uid::new);
                let which = Which::Named(request.key);
                control.remove_services(actor, uid, which).await?;
            }
        }
        4 | 5 => reservation(control, actor, kind, message).await?,
        6 => {
            if let Ok(request) = pb::ReconnectRequest::decode(message) {
                let which = Reconnect::Keys(request.keys);
                control
                    .reconnect(actor, request.uid.map(Uid::new), which)
                    .await?;
            }
        }
        7 => {
            if let Ok(request) = pb::SetCaptureRequest::decode(message) {
                let pb::SetCaptureRequest { key, on, uid } = request;
                control
                    .set_capture(actor, uid.map(Uid::new), key, on)
                    .await?;
            }
        }
        _ => {
            if let Ok(request) = pb::ListRequest::decode(message) {
                let filter = decode::Filter::new(actor.clone(), request.filter);
                let listing = encode::listing(&control.store.view(), &filter);
                assert!(listing.encoded_len() < 64 * 1024 * 1024);
            }
        }
    }
    Ok(())
}

async fn reservation(
    control: &Control,
    actor: &Actor,
    kind: u8,
    message: &[u8],
) -> Result<(), Failure> {
    if kind % 9 == 5 {
        if let Ok(request) = pb::RemoveReservationRequest::decode(message) {
            control.unreserve(actor, &request.target).await?;
        }
    } else if let Ok(request) = pb::AddReservationRequest::decode(message) {
        let reservation = request.reservation.unwrap_or_default();
        if let Some(address) = decode::address(&reservation.address)? {
            control.reserve(actor, &reservation.key, address).await?;
        }
    }
    Ok(())
}
