//! Which names nobody may have, because the machine or its user needs them for something else.
//!
//! Hosts entries hold for every program of the machine, root's included, and a cluster or a
//! kubeconfig decides what services, namespaces and contexts are called. Without these rules a
//! namespace `com` with a service `github` would take over `github.com`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use kubefwd_model::{DnsLabel, HostName};

/// The name of the daemon's own REST interface.
pub const API_NAME: &str = "kubefwd.internal";

/// The command by which the administrator allows a suffix, up to the suffix.
pub const ALLOW: &str = "sudo kubefwdctl names allow";

/// Names by which programs mean this machine, as in the hosts files of Debian, Fedora and macOS.
const LOOPBACK: &[&str] = &[
    "localhost",
    "localhost4",
    "localhost6",
    "localdomain",
    "localdomain4",
    "localdomain6",
    "loopback",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
];

/// Names by which containers and virtual machines mean their host.
const CONTAINER_HOST: &[&str] = &[
    "docker.internal",
    "containers.internal",
    "lima.internal",
    "minikube.internal",
    "orb.internal",
];

/// Names from which cloud programs take credentials (Google, AWS, Azure), and the one from which
/// browsers take their proxy configuration.
const CONFIGURATION_SOURCE: &[&str] = &[
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.internal",
    "instance-data",
    "instance-data.ec2.internal",
];

/// First labels of names from which programs take a proxy or a tunnel, in every domain of the search list: RFC 5214 and
/// the draft of the web proxy auto-discovery protocol.
const CONFIGURATION_LABEL: &[&str] = &["wpad", "isatap"];

/// Zones that the networks of companies and homes have for themselves: RFC 6762 with its appendix G, the reserved
/// `internal`, and Consul's own.
const PRIVATE_ZONE: &[&str] = &[
    "consul", "corp", "home", "internal", "intranet", "lan", "local", "private",
];

/// What every pod's search list ends in: names of this exact form mean services of a cluster and nothing else.
const CLUSTER_DOMAIN: &str = ".svc.cluster.local";

/// Why nobody may have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// `localhost` and the like, and everything below them.
    Loopback,
    /// The machine's own host name.
    MachineName,
    /// `*.docker.internal` and the like.
    ContainerHost,
    /// Metadata services of clouds, `wpad`.
    ConfigurationSource,
    /// It is below the machine's own domain or one that it searches.
    OwnDomain,
    /// It is in a zone of private networks.
    PrivateZone,
    /// [`API_NAME`] and everything below it.
    Api,
    /// A line in the hosts file that is not ours holds the name.
    HostsLine,
    /// The last label is a top-level domain of the internet.
    TopLevelDomain,
    /// The last label is a number: programs take such a name for an address.
    Numeric,
}

/// A name that was refused. Its text says what, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("name {name} refused: {}; {}", self.why(), self.hint())]
pub struct Refusal {
    /// The name.
    pub name: HostName,
    /// Why.
    pub reason: RefusalReason,
}

impl Refusal {
    /// Why the name was refused.
    pub fn why(&self) -> Cow<'static, str> {
        match self.reason {
            RefusalReason::Loopback => "it means this machine itself".into(),
            RefusalReason::MachineName => "it is this machine's own name".into(),
            RefusalReason::ContainerHost => "containers use it to reach their host".into(),
            RefusalReason::ConfigurationSource => {
                "programs fetch credentials or proxy settings from it".into()
            }
            RefusalReason::OwnDomain => {
                "it is in a domain of this machine, so it could hide one of its servers".into()
            }
            RefusalReason::PrivateZone => format!(
                "\".{}\" is a zone of private networks, so it could hide a server there",
                self.name.last_label()
            )
            .into(),
            RefusalReason::Api => "it is the name of kubefwd's own API".into(),
            RefusalReason::HostsLine => {
                "another line in your hosts file has it, and kubefwd never touches that line".into()
            }
            RefusalReason::TopLevelDomain => format!(
                "\".{}\" is a top-level domain of the internet, so it could hide a real site",
                self.name.last_label()
            )
            .into(),
            RefusalReason::Numeric => {
                "programs parse a name that ends in a number as an IP address".into()
            }
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Cow<'static, str> {
        match self.reason {
            RefusalReason::Loopback => "rename the service or use a longer form".into(),
            RefusalReason::MachineName => "use a longer form of the service's name".into(),
            RefusalReason::ContainerHost | RefusalReason::Api => {
                "use another form of the name".into()
            }
            RefusalReason::ConfigurationSource | RefusalReason::OwnDomain => {
                format!("use another form, or `{ALLOW} {}`", self.name).into()
            }
            RefusalReason::HostsLine => "remove that line to let the service have the name".into(),
            RefusalReason::TopLevelDomain | RefusalReason::PrivateZone => {
                format!("use another form, or `{ALLOW} {}`", self.name.last_label()).into()
            }
            RefusalReason::Numeric => "use another form".into(),
        }
    }
}

/// The rules in force: the fixed ones of this module and what is known of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameRules {
    /// The machine's own names, with and without domain.
    pub machine_names: BTreeSet<HostName>,
    /// Names that lines of the hosts file hold which are not ours.
    pub hosts_lines: BTreeSet<HostName>,
    /// The machine's own domain, and those in which it looks for names without a dot.
    pub search_domains: BTreeSet<HostName>,
    /// Suffixes (or whole names) that the administrator allows although names below them could hide something.
    pub allowed_suffixes: BTreeSet<HostName>,
}

impl NameRules {
    /// Why nobody may have `name`, or `None` where a service may.
    #[must_use]
    pub fn refuses(&self, name: &HostName) -> Option<RefusalReason> {
        let is_within = |list: &[&str]| list.iter().any(|suffix| name.is_within(suffix));
        if is_within(LOOPBACK) {
            Some(RefusalReason::Loopback)
        } else if name.is_within(API_NAME) {
            Some(RefusalReason::Api)
        } else if is_within(CONTAINER_HOST) {
            Some(RefusalReason::ContainerHost)
        } else if ends_in_number(name) {
            Some(RefusalReason::Numeric)
        } else if self.machine_names.contains(name) {
            Some(RefusalReason::MachineName)
        } else if self.hosts_lines.contains(name) {
            Some(RefusalReason::HostsLine)
        } else if self.allows(name) || is_in_cluster(name) {
            None
        } else if CONFIGURATION_SOURCE.contains(&name.as_str())
            || name
                .labels()
                .next()
                .is_some_and(|label| CONFIGURATION_LABEL.contains(&label))
        {
            Some(RefusalReason::ConfigurationSource)
        } else if self
            .search_domains
            .iter()
            .any(|domain| name.is_within(domain.as_str()))
        {
            Some(RefusalReason::OwnDomain)
        } else if !name.is_dotless() && PRIVATE_ZONE.contains(&name.last_label()) {
            Some(RefusalReason::PrivateZone)
        } else if is_public(name) {
            Some(RefusalReason::TopLevelDomain)
        } else {
            None
        }
    }

    /// Why nobody may have names below this label, or `None` where a service may.
    #[must_use]
    pub fn refuses_below(&self, label: &DnsLabel) -> Option<Refusal> {
        let name = HostName::parse(&format!("x.{label}")).ok()?;
        let reason = self.refuses(&name)?;
        Some(Refusal { name, reason })
    }

    /// Why no administrator can allow names within this suffix, or `None` where one can.
    #[must_use]
    pub fn never_allows(&self, suffix: &HostName) -> Option<RefusalReason> {
        let allowing = Self {
            allowed_suffixes: BTreeSet::from([suffix.clone()]),
            ..Self::default()
        };
        allowing.refuses(suffix)
    }

    /// Whether names within this suffix could hide servers of the machine's own network, allowed or not.
    #[must_use]
    pub fn is_private(&self, suffix: &HostName) -> bool {
        PRIVATE_ZONE.contains(&suffix.last_label())
            || self.search_domains.iter().any(|domain| {
                domain.is_within(suffix.as_str()) || suffix.is_within(domain.as_str())
            })
    }

    fn allows(&self, name: &HostName) -> bool {
        self.allowed_suffixes
            .iter()
            .any(|suffix| name.is_within(suffix.as_str()))
    }
}

/// Whether it is `service.namespace.svc.cluster.local`, or a pod of such a service.
fn is_in_cluster(name: &HostName) -> bool {
    let front = name.as_str().strip_suffix(CLUSTER_DOMAIN);
    front.is_some_and(|front| matches!(front.split('.').count(), 2 | 3))
}

/// Whether the last label is a top-level domain. A name without a dot is looked up in no public
/// zone, whatever it is.
fn is_public(name: &HostName) -> bool {
    // Asked one level down: domains such as `ck` stand in the list only as `*.ck`.
    let probe = format!("x.{}", name.last_label());
    !name.is_dotless() && psl::suffix(probe.as_bytes()).is_some_and(|suffix| suffix.is_known())
}

/// Whether the last label is a number as `inet_aton` and the URL standard read one.
fn ends_in_number(name: &HostName) -> bool {
    let last = name.last_label();
    let is_hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    last.bytes().all(|b| b.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    fn set(names: &[&str]) -> BTreeSet<HostName> {
        names.iter().map(|text| name(text)).collect()
    }

    #[test]
    fn refuses_names_with_a_meaning_of_their_own() {
        let rules = NameRules {
            machine_names: set(&["build7", "build7.corp.test"]),
            hosts_lines: set(&["db.staging"]),
            // As in a pod.
            search_domains: set(&["corp.test", "svc.cluster.local", "cluster.local"]),
            ..NameRules::default()
        };
        for text in [
            "api.shop.svc.cluster.local",
            "web-0.api.shop.svc.cluster.local",
        ] {
            assert_eq!(rules.refuses(&name(text)), None, "{text}");
        }
        for (text, reason) in [
            ("localhost", RefusalReason::Loopback),
            ("api.localhost", RefusalReason::Loopback),
            ("LOCALHOST.localdomain", RefusalReason::Loopback),
            ("ip6-loopback", RefusalReason::Loopback),
            ("build7", RefusalReason::MachineName),
            ("build7.corp.test", RefusalReason::MachineName),
            ("host.docker.internal", RefusalReason::ContainerHost),
            ("gateway.docker.internal", RefusalReason::ContainerHost),
            (
                "metadata.google.internal",
                RefusalReason::ConfigurationSource,
            ),
            ("wpad", RefusalReason::ConfigurationSource),
            ("wpad.shop", RefusalReason::ConfigurationSource),
            ("isatap.shop.kind", RefusalReason::ConfigurationSource),
            ("ldap.corp.test", RefusalReason::OwnDomain),
            ("api.corp.test", RefusalReason::OwnDomain),
            ("vault.service.consul", RefusalReason::PrivateZone),
            ("ldap.corp", RefusalReason::PrivateZone),
            ("git.home.lan", RefusalReason::PrivateZone),
            ("printer.local", RefusalReason::PrivateZone),
            ("cluster.local", RefusalReason::OwnDomain),
            ("x.y.z.a.svc.cluster.local", RefusalReason::OwnDomain),
            ("kubefwd.internal", RefusalReason::Api),
            ("x.kubefwd.internal", RefusalReason::Api),
            ("db.staging", RefusalReason::HostsLine),
            ("github.com", RefusalReason::TopLevelDomain),
            ("api.dev", RefusalReason::TopLevelDomain),
            ("api.shop.svc.cluster.uk", RefusalReason::TopLevelDomain),
            ("api.ck", RefusalReason::TopLevelDomain),
            ("10.0", RefusalReason::Numeric),
            ("api.0x7f", RefusalReason::Numeric),
        ] {
            assert_eq!(rules.refuses(&name(text)), Some(reason), "{text}");
        }
    }

    #[test]
    fn allows_what_clusters_are_full_of() {
        let rules = NameRules::default();
        for text in [
            "api",
            "dev",
            "app",
            "api.default",
            "api.staging.svc",
            "api.staging.svc.cluster.local",
            "api.staging.minikube",
            "build8",
            "mydocker.internal-tools",
            "a0x",
        ] {
            assert_eq!(rules.refuses(&name(text)), None, "{text}");
        }
    }

    #[test]
    fn the_administrator_may_allow_a_suffix_but_not_localhost() {
        let rules = NameRules {
            allowed_suffixes: set(&[
                "dev",
                "metadata",
                "localhost",
                "shop.com",
                "lan",
                "ours.test",
            ]),
            search_domains: set(&["test"]),
            hosts_lines: set(&["held.dev"]),
            ..NameRules::default()
        };
        assert_eq!(rules.refuses(&name("api.dev")), None);
        assert_eq!(rules.refuses(&name("metadata")), None);
        assert_eq!(rules.refuses(&name("api.lan")), None);
        assert_eq!(rules.refuses(&name("api.ours.test")), None);
        assert_eq!(rules.refuses(&name("api.shop.com")), None);
        assert_eq!(rules.refuses(&name("shop.com")), None);
        assert_eq!(
            rules.refuses(&name("api.com")),
            Some(RefusalReason::TopLevelDomain)
        );
        assert_eq!(
            rules.refuses(&name("localhost")),
            Some(RefusalReason::Loopback)
        );
        assert_eq!(
            rules.refuses(&name("held.dev")),
            Some(RefusalReason::HostsLine)
        );
    }

    #[test]
    fn a_refusal_names_the_command_that_allows_it() {
        let refusal = Refusal {
            name: name("api.dev"),
            reason: RefusalReason::TopLevelDomain,
        };
        let text = refusal.to_string();
        assert!(text.contains("`sudo kubefwdctl names allow dev`"), "{text}");
    }
}
