//! Parsers for command line values, each with an error that says what is expected.

use std::time::Duration;

use jiff::SignedDuration;
use kubefwd_proto::common::v1::PortMapping;
use kubefwd_proto::control::v1::AddServiceRequest;

/// A century: more than anybody waits or looks back, and far from overflow in time arithmetic.
const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// `30s`, `5m`, `1h30m`, `1.5h`.
///
/// # Errors
/// Anything else, negative durations, and durations beyond a century.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let example = "expected a duration such as 30s, 5m or 1h30m";
    let parsed: SignedDuration = text.parse().map_err(|_| example.to_owned())?;
    let parsed =
        Duration::try_from(parsed).map_err(|_| format!("must not be negative; {example}"))?;
    if parsed > MAX_DURATION {
        return Err("must not be longer than a century".to_owned());
    }
    Ok(parsed)
}

/// `80:8080`: the service's port and the local port to listen on instead.
///
/// # Errors
/// Anything but two port numbers.
pub(crate) fn port_mapping(text: &str) -> Result<PortMapping, String> {
    let example = "expected SERVICE_PORT:LOCAL_PORT, such as 80:8080";
    let (from, to) = text.split_once(':').ok_or(example)?;
    let (from, to) = (port(from)?, port(to)?);
    Ok(PortMapping { from, to })
}

fn port(text: &str) -> Result<u32, String> {
    text.parse::<u16>()
        .ok()
        .filter(|port| *port != 0)
        .map(u32::from)
        .ok_or_else(|| format!("{text:?} is not a valid port number (1 to 65535)"))
}

/// One service on the command line: `NS/SVC[:PORT[,PORT]…]`. Without ports, all are forwarded.
///
/// # Errors
/// Anything else.
pub(crate) fn service(text: &str) -> Result<AddServiceRequest, String> {
    let example = "expected NAMESPACE/SERVICE or NAMESPACE/SERVICE:PORT,PORT";
    let (name, ports) = match text.split_once(':') {
        Some((name, ports)) => (name, ports.split(',').map(port).collect::<Result<_, _>>()?),
        None => (text, Vec::new()),
    };
    let (namespace, service) = name.split_once('/').ok_or(example)?;
    if namespace.is_empty() || service.is_empty() || service.contains('/') {
        return Err(example.to_owned());
    }
    Ok(AddServiceRequest {
        namespace: namespace.to_owned(),
        service: service.to_owned(),
        ports,
        ..AddServiceRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["30", "", "soon", "-5s", "5m ago", "9999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn port_mappings() {
        assert_eq!(
            port_mapping("80:8080"),
            Ok(PortMapping { from: 80, to: 8080 })
        );
        for wrong in [
            "80", "80:", ":80", "0:80", "80:65536", "http:80", "1:2:3", "+1:2 ",
        ] {
            assert!(port_mapping(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn service_targets() {
        let target = |namespace: &str, name: &str, ports: &[u32]| {
            Ok(AddServiceRequest {
                namespace: namespace.to_owned(),
                service: name.to_owned(),
                ports: ports.to_vec(),
                ..AddServiceRequest::default()
            })
        };
        assert_eq!(service("demo/db"), target("demo", "db", &[]));
        assert_eq!(
            service("demo/db:5432,80"),
            target("demo", "db", &[5432, 80])
        );
        for wrong in [
            "demo",
            "/db",
            "demo/",
            "a/b/c",
            "demo/db:",
            "demo/db:x",
            "demo/db:1,",
            "",
        ] {
            assert!(service(wrong).is_err(), "{wrong}");
        }
    }
}
