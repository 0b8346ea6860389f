//! Between the public model and the wire: one file per topic, both directions.
//!
//! What comes from the wire is checked on the way in ([`Malformed`]): names parse, numbers fit.

mod event;
pub mod failure;
mod finding;
mod forward;
mod namespace;
mod options;
mod service;
mod time;
mod worker;

pub use time::{now, system_time, timestamp, to_time};

/// A message that does not hold what its type promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {what}")]
pub struct Malformed {
    what: String,
}

impl Malformed {
    fn new(what: impl ToString) -> Self {
        Self {
            what: what.to_string(),
        }
    }
}

impl From<kubefwd_model::NameError> for Malformed {
    fn from(error: kubefwd_model::NameError) -> Self {
        Self::new(error)
    }
}

/// Converts an enum of the model to its counterpart on the wire, and back unless it is unspecified there.
macro_rules! words {
    ($wire:path, $model:ident, $($variant:ident),+ $(,)?) => {
        impl From<$model> for $wire {
            fn from(word: $model) -> Self {
                match word {
                    $( $model::$variant => Self::$variant, )+
                }
            }
        }

        impl TryFrom<$wire> for $model {
            type Error = super::Malformed;

            fn try_from(word: $wire) -> Result<Self, super::Malformed> {
                match word {
                    $( <$wire>::$variant => Ok(Self::$variant), )+
                    <$wire>::Unspecified => {
                        Err(super::Malformed::new(concat!(stringify!($model), " is not given")))
                    }
                }
            }
        }
    };
}
pub(crate) use words;

/// A port number.
fn port(number: u32) -> Result<u16, Malformed> {
    u16::try_from(number).map_err(|_| Malformed::new(format!("port {number}")))
}

/// Names, parsed.
fn hostnames(names: &[String]) -> Result<std::sync::Arc<[kubefwd_model::HostName]>, Malformed> {
    let names = names
        .iter()
        .map(|name| kubefwd_model::HostName::parse(name));
    Ok(names.collect::<Result<_, _>>()?)
}
