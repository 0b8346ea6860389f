//! A service to forward, and what became of it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use kubefwd_model as model;
use kubefwd_model::entry::{Key, ServiceId};
use kubefwd_model::{HostName, ServiceKey};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::extract::text;
use crate::wait::Wait;

/// A service to forward.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddService {
    /// Its namespace.
    #[schema(
        min_length = 1,
        max_length = 63,
        pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
    )]
    pub(crate) namespace: String,
    /// Its name; `service_name` is accepted too.
    #[serde(alias = "service_name")]
    #[schema(
        min_length = 1,
        max_length = 63,
        pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
    )]
    pub(crate) service_name: String,
    /// A context of your kubeconfig; default: the current one.
    #[serde(default, deserialize_with = "text")]
    #[schema(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$", max_length = 200)]
    pub(crate) context: Option<String>,
    /// Ports of the service (default: all): `"80"`, or `"80:8080"` to listen on 8080 for the service's port 80.
    #[serde(default)]
    pub(crate) ports: Option<Vec<Port>>,
    /// The loopback address to use; `local_ip` is accepted too.
    #[serde(default, rename = "localIP", alias = "local_ip", alias = "localIp")]
    #[schema(format = "ipv4")]
    pub(crate) local_ip: Option<Ipv4Addr>,
    /// Wait until it is active: `true` for up to a minute, or a limit such as `"30s"` or a number of seconds.
    #[serde(default)]
    pub(crate) wait: Wait,
}

/// A port of a service, and where to listen for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// The service's port.
    pub(crate) service: u16,
    /// The local one.
    pub(crate) local: u16,
}

/// A service that was added.
#[derive(Serialize, ToSchema)]
pub(crate) struct AddedService<'a> {
    /// `service.namespace.context`
    key: Key<'a>,
    #[serde(flatten)]
    id: ServiceId<'a>,
    /// Its address; empty while it has none.
    #[serde(rename = "localIP")]
    local_ip: String,
    /// Names that resolve to that address.
    hostnames: &'a [HostName],
    /// Its ports.
    ports: Vec<AddedPort>,
}

/// A port of a service that was added.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddedPort {
    /// The port it listens on.
    local_port: String,
    /// The service's port.
    remote_port: String,
    /// TCP.
    protocol: &'static str,
}

// === impl AddService ===

impl AddService {
    /// The service's ports that are wanted; none means all.
    pub(crate) fn wanted_ports(&self) -> BTreeSet<u16> {
        self.ports
            .iter()
            .flatten()
            .map(|port| port.service)
            .collect()
    }

    /// Where to listen, for those ports where it is not the same.
    pub(crate) fn port_mappings(&self) -> impl Iterator<Item = (u16, u16)> {
        let ports = self
            .ports
            .iter()
            .flatten()
            .filter(|port| port.service != port.local);
        ports.map(|port| (port.service, port.local))
    }
}

// === impl AddedService ===

impl<'a> AddedService<'a> {
    /// `service` is what is known of it; `None` while the cluster has not listed it.
    pub(crate) fn new(key: &'a ServiceKey, service: Option<&'a model::Service>) -> Self {
        let (local_ip, hostnames) = match service.and_then(model::Service::address) {
            Some((address, hostnames)) => (address.to_string(), &**hostnames),
            None => (String::new(), &[][..]),
        };
        let forwards = service.into_iter().flat_map(|service| &service.forwards);
        let ports: BTreeSet<(u16, u16)> = forwards
            .map(|forward| (forward.local_port, forward.service_port))
            .collect();
        let port = |(local, remote): (u16, u16)| AddedPort {
            local_port: local.to_string(),
            remote_port: remote.to_string(),
            protocol: "TCP",
        };
        Self {
            key: key.into(),
            id: key.into(),
            local_ip,
            hostnames,
            ports: ports.into_iter().map(port).collect(),
        }
    }
}

impl PartialSchema for Port {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(65_535));
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[1-9][0-9]{0,4}(:[1-9][0-9]{0,4})?$"));
        OneOfBuilder::new()
            .item(number)
            .item(text)
            .examples([serde_json::json!("80")])
            .into()
    }
}

impl ToSchema for Port {}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Text(String),
        }
        let wrong = |shown: String| {
            D::Error::custom(format!(
                "{shown} is not a port: use 80, \"80\", or \"80:8080\" to listen on 8080 for the service's port 80"
            ))
        };
        let port = |text: &str| text.parse().ok().filter(|port: &u16| *port != 0);
        match Form::deserialize(deserializer) {
            Ok(Form::Number(number)) => {
                // JSON knows one kind of number: 80.0 is 80.
                let is_port = number.fract() == 0.0 && (1.0..=65_535.0).contains(&number);
                let port = if is_port {
                    number as u16
                } else {
                    return Err(wrong(number.to_string()));
                };
                Ok(Self {
                    service: port,
                    local: port,
                })
            }
            Ok(Form::Text(text)) => {
                let (service, local) = text.split_once(':').unwrap_or((&text, &text));
                match (port(service), port(local)) {
                    (Some(service), Some(local)) => Ok(Self { service, local }),
                    _ => Err(wrong(format!("{text:?}"))),
                }
            }
            Err(_) => Err(wrong("that".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(body: &str) -> Result<AddService, String> {
        serde_json::from_str(body).map_err(|error| error.to_string())
    }

    #[test]
    fn both_spellings_of_a_request_are_read() {
        for body in [
            r#"{"namespace":"n","service_name":"s","local_ip":"127.1.27.9"}"#,
            r#"{"namespace":"n","serviceName":"s","localIP":"127.1.27.9","context":"","other":1}"#,
        ] {
            let request = add(body).unwrap();
            assert_eq!(
                (request.service_name.as_str(), request.context.clone()),
                ("s", None)
            );
            assert_eq!(request.local_ip, Some(Ipv4Addr::new(127, 1, 27, 9)));
        }
        assert!(
            add(r#"{"namespace":"n"}"#)
                .unwrap_err()
                .contains("serviceName")
        );
        assert!(add(r#"{"namespace":"n","serviceName":"s","localIP":"nonsense"}"#).is_err());
    }

    #[test]
    fn ports_are_numbers_texts_and_mappings() {
        let request =
            add(r#"{"namespace":"n","serviceName":"s","ports":[80.0,"443","5432:15432"]}"#)
                .unwrap();
        assert_eq!(request.wanted_ports(), [80, 443, 5432].into());
        assert_eq!(request.port_mappings().collect::<Vec<_>>(), [(5432, 15432)]);
        for wrong in ["0", "70000", "\"\"", "\"80:\"", "\"a\"", "true", "-1"] {
            let body = format!(r#"{{"namespace":"n","serviceName":"s","ports":[{wrong}]}}"#);
            assert!(add(&body).unwrap_err().contains("is not a port"), "{wrong}");
        }
    }

    #[test]
    fn the_description_allows_every_port() {
        let schema = serde_json::to_value(Port::schema()).unwrap();
        let pattern = schema["oneOf"][1]["pattern"].as_str().unwrap();
        assert_eq!(pattern, "^[1-9][0-9]{0,4}(:[1-9][0-9]{0,4})?$");
        let request =
            add(r#"{"namespace":"n","serviceName":"s","ports":["30080:65535"]}"#).unwrap();
        assert_eq!(
            request.port_mappings().collect::<Vec<_>>(),
            [(30_080, 65_535)]
        );
    }
}
