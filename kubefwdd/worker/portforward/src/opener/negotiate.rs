//! The choice of a transport: what worked last, else SPDY raced by SPDY over WebSocket, else the old WebSocket protocol.
//!
//! SPDY goes first because it needs only the verb `create`, crosses one hop less, and its end of stream is reliable. Behind
//! a proxy the order is reversed, since many proxies pass only WebSocket.

use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::time::timeout;

use super::{AttemptError, OpenError, Opener, Transport, UpgradeError, Upgraded};
use crate::backend::Backend;
use crate::http1::Reason;

/// The head start of the first transport over the second.
const HEAD_START: Duration = Duration::from_millis(300);

impl Opener {
    pub(super) async fn negotiate(&self, pod: &Backend, port: u16) -> Result<Upgraded, OpenError> {
        if let Some(known) = self.transport() {
            match self.attempt(known, pod, port).await {
                Ok(upgraded) => return Ok(upgraded),
                Err(error) if !error.suggests_another_transport() => {
                    return Err(error.explain(known, pod));
                }
                Err(_) => {}
            }
        }
        let (first, second) = if self.server.proxy.is_some() {
            (Transport::WebSocket, Transport::Spdy)
        } else {
            (Transport::Spdy, Transport::WebSocket)
        };
        let (first_error, second_error) = match self.race(first, second, pod, port).await {
            Ok(upgraded) => return Ok(upgraded),
            Err(errors) => errors,
        };
        if first_error.is_forbidden() && second_error.is_forbidden() || first_error.is_final() {
            return Err(first_error.explain(first, pod));
        }
        if second_error.is_final() {
            return Err(second_error.explain(second, pod));
        }
        let last = self.attempt(Transport::Channel, pod, port).await;
        last.map_err(|error| {
            if first_error.is_forbidden() {
                first_error.explain(first, pod)
            } else if second_error.is_forbidden() {
                second_error.explain(second, pod)
            } else {
                error.explain(Transport::Channel, pod)
            }
        })
    }

    /// Tries both, the second when the first is refused or slow; the first success wins.
    async fn race(
        &self,
        first: Transport,
        second: Transport,
        pod: &Backend,
        port: u16,
    ) -> Result<Upgraded, (AttemptError, AttemptError)> {
        let one = self.attempt(first, pod, port);
        let two = self.attempt(second, pod, port);
        tokio::pin!(one, two);
        match timeout(HEAD_START, &mut one).await {
            Ok(Ok(upgraded)) => return Ok(upgraded),
            Ok(Err(error)) if !error.suggests_another_transport() => {
                return Err((error, AttemptError::skipped()));
            }
            Ok(Err(error)) => return two.await.map_err(|second| (error, second)),
            Err(_) => {}
        }
        match select(one, two).await {
            Either::Left((Ok(upgraded), _)) | Either::Right((Ok(upgraded), _)) => Ok(upgraded),
            Either::Left((Err(first), two)) => two.await.map_err(|second| (first, second)),
            Either::Right((Err(second), one)) => one.await.map_err(|first| (first, second)),
        }
    }
}

impl AttemptError {
    /// Stands for an attempt that was not made because it could not have done better.
    fn skipped() -> Self {
        Self::Upgrade(UpgradeError::Unconfirmed)
    }

    fn is_forbidden(&self) -> bool {
        matches!(self, Self::Upgrade(UpgradeError::Refused { status, reason })
            if *status == 403 && reason.is_status)
    }

    /// The oldest protocol would fail too: a broken connection says nothing about transports.
    fn is_final(&self) -> bool {
        !self.suggests_another_transport() || matches!(self, Self::Upgrade(UpgradeError::Io(_)))
    }

    /// The server or something in front of it does not speak this transport, or its role does not allow it.
    fn suggests_another_transport(&self) -> bool {
        match self {
            Self::Before(_) => false,
            Self::Upgrade(UpgradeError::Refused { status, reason }) => match status.as_u16() {
                400 => !is_about_the_pod(reason),
                404 => !reason.is_status && !reason.message.contains("pod does not exist"),
                401 | 408 | 429 => false,
                code => code < 500 || code == 501,
            },
            Self::Upgrade(
                UpgradeError::Io(_) | UpgradeError::Head(_) | UpgradeError::Unconfirmed,
            ) => true,
        }
    }

    fn explain(self, transport: Transport, pod: &Backend) -> OpenError {
        match self {
            Self::Before(error) => error,
            Self::Upgrade(UpgradeError::Refused { status, reason }) => match status.as_u16() {
                401 => OpenError::Unauthorized(reason.message),
                403 if reason.is_status => OpenError::Forbidden {
                    namespace: pod.namespace.clone(),
                    verb: missing_verb(&reason.message).unwrap_or(transport.verb()),
                    message: reason.message,
                },
                400 if is_about_the_pod(&reason) => OpenError::pod(pod, reason.message),
                404 if reason.is_status => OpenError::pod(pod, reason.message),
                code => OpenError::Refused {
                    transport,
                    status: code,
                    message: reason.message,
                },
            },
            Self::Upgrade(error) => OpenError::Broken {
                transport,
                why: error.to_string(),
            },
        }
    }
}

/// API servers answer 400 as well where they do not know the tunnel, and miss a parameter of the older protocol; and where
/// a proxy in front has taken the upgrade away.
fn is_about_the_pod(reason: &Reason) -> bool {
    let is_about_us = ["query parameter", "Upgrade request required"];
    reason.is_status && !is_about_us.iter().any(|text| reason.message.contains(text))
}

/// The verb in `User "x" cannot create resource "pods/portforward"`.
fn missing_verb(message: &str) -> Option<&'static str> {
    let (_, rest) = message.split_once(" cannot ")?;
    let mut verbs = ["create", "get"].into_iter();
    verbs.find(|verb| rest.starts_with(verb))
}

impl OpenError {
    fn pod(pod: &Backend, message: String) -> Self {
        Self::Pod {
            pod: pod.pod.clone(),
            message,
        }
    }
}

#[cfg(test)]
mod tests;
