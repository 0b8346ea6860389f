//! Every name that a service, or a pod of a headless service, asks for.

use std::collections::BTreeSet;

use kubefwd_model::{DnsLabel, HostName, NameError, UnitKey};

/// How far a name identifies its service, and so who can expect to get it.
///
/// The class is told to people; who gets a name is decided by [`super::NameRegistry`] in the same
/// way for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameClass {
    /// `svc`: the first namespace that has such a service.
    Short,
    /// `svc.D` with `domain = D`: as short as `svc`.
    ShortDomain,
    /// `svc.ns`, `svc.ns.svc`, `svc.ns.svc.cluster.local`: the first context that claims it.
    Qualified,
    /// `svc.ns.svc.cluster.D` with `domain = D`: as qualified as `svc.ns`.
    QualifiedDomain,
    /// `svc.ns.ctx`, `svc.ns.svc.ctx`, `svc.ns.svc.cluster.ctx`: names the context, so always.
    Context,
}

/// Options of the names, the same for all services of one namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameOptions {
    /// A domain under which the names appear as well (`domain = D`).
    pub domain: Option<HostName>,
    /// Whether each name with a dot is also written with `-` for every dot.
    pub dashed: bool,
}

/// One name that a unit asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The name.
    pub name: HostName,
    /// How far it identifies the service.
    pub class: NameClass,
    /// Whether it is the copy with `-` for every dot.
    pub dashed: bool,
}

/// What a unit asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidates {
    /// The names, shortest forms first, without repetition.
    pub names: Vec<Candidate>,
    /// Forms that are no DNS names because the parts are too long together, with the reason.
    pub unusable: Vec<NameError>,
}

/// Lists the names of a unit, where `context` is the label of its context (see
/// [`super::ContextLabels`]).
///
/// A pod of a headless service asks for the same names as its service would, each with the pod's
/// name and a dot before it.
#[must_use]
pub fn candidates(unit: &UnitKey, context: &DnsLabel, options: &NameOptions) -> Candidates {
    let svc = match &unit.pod {
        Some(pod) => format!("{pod}.{}", unit.service),
        None => unit.service.to_string(),
    };
    let ns = &unit.namespace;
    let mut forms = vec![(NameClass::Short, svc.clone())];
    if let Some(domain) = &options.domain {
        forms.push((NameClass::ShortDomain, format!("{svc}.{domain}")));
    }
    forms.extend([
        (NameClass::Qualified, format!("{svc}.{ns}")),
        (NameClass::Qualified, format!("{svc}.{ns}.svc")),
        (
            NameClass::Qualified,
            format!("{svc}.{ns}.svc.cluster.local"),
        ),
    ]);
    if let Some(domain) = &options.domain {
        forms.push((
            NameClass::QualifiedDomain,
            format!("{svc}.{ns}.svc.cluster.{domain}"),
        ));
    }
    forms.extend([
        (NameClass::Context, format!("{svc}.{ns}.{context}")),
        (NameClass::Context, format!("{svc}.{ns}.svc.{context}")),
        (
            NameClass::Context,
            format!("{svc}.{ns}.svc.cluster.{context}"),
        ),
    ]);

    let mut found = Candidates::default();
    let mut seen = BTreeSet::new();
    for (class, text) in forms {
        if options.dashed && text.contains('.') {
            let copy = text.replace('.', "-");
            found.push(&mut seen, class, true, &copy);
        }
        found.push(&mut seen, class, false, &text);
    }
    // Plain names first: where a dashed copy equals a plain form of the same unit, or lines are
    // read by people, the plain form is the one that counts.
    found.names.sort_by_key(|candidate| candidate.dashed);
    found
}

impl Candidates {
    fn push(&mut self, seen: &mut BTreeSet<HostName>, class: NameClass, dashed: bool, text: &str) {
        match HostName::parse(text) {
            Ok(name) if seen.insert(name.clone()) => {
                self.names.push(Candidate {
                    name,
                    class,
                    dashed,
                });
            }
            Ok(_) => {}
            Err(reason) => self.unusable.push(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubefwd_model::{ContextName, NamespaceName, PodName, ServiceName, Uid};

    fn unit(pod: Option<&str>) -> UnitKey {
        UnitKey {
            uid: Uid::new(1000),
            context: ContextName::parse("minikube").unwrap(),
            namespace: NamespaceName::parse("default").unwrap(),
            service: ServiceName::parse("api").unwrap(),
            pod: pod.map(|pod| PodName::parse(pod).unwrap()),
        }
    }

    fn names(unit: &UnitKey, options: &NameOptions) -> Vec<String> {
        let found = candidates(unit, &unit.context.label(), options);
        assert_eq!(found.unusable, []);
        found
            .names
            .into_iter()
            .map(|candidate| candidate.name.to_string())
            .collect()
    }

    #[test]
    fn a_service_has_seven_names() {
        let expected = [
            "api",
            "api.default",
            "api.default.svc",
            "api.default.svc.cluster.local",
            "api.default.minikube",
            "api.default.svc.minikube",
            "api.default.svc.cluster.minikube",
        ];
        assert_eq!(names(&unit(None), &NameOptions::default()), expected);
    }

    #[test]
    fn a_pod_puts_its_name_first() {
        let found = names(&unit(Some("web-0")), &NameOptions::default());
        assert_eq!(found[0], "web-0.api");
        assert_eq!(found[3], "web-0.api.default.svc.cluster.local");
        assert_eq!(found.len(), 7);
    }

    #[test]
    fn a_domain_adds_two() {
        let domain = Some(HostName::parse("corp.test").unwrap());
        let found = names(
            &unit(None),
            &NameOptions {
                domain,
                dashed: false,
            },
        );
        assert_eq!(found.len(), 9);
        assert!(found.contains(&"api.corp.test".to_owned()));
        assert!(found.contains(&"api.default.svc.cluster.corp.test".to_owned()));
    }

    #[test]
    fn dashed_copies_come_last() {
        let found = names(
            &unit(None),
            &NameOptions {
                domain: None,
                dashed: true,
            },
        );
        assert_eq!(
            found.len(),
            13,
            "the count that kubefwd writes for a first namespace"
        );
        assert_eq!(found[7], "api-default");
        assert_eq!(found[12], "api-default-svc-cluster-minikube");
    }

    #[test]
    fn equal_forms_appear_once() {
        let domain = Some(HostName::parse("local").unwrap());
        let found = names(
            &unit(None),
            &NameOptions {
                domain,
                dashed: false,
            },
        );
        let mut unique = found.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), found.len());
    }

    #[test]
    fn forms_too_long_for_dns_are_told_and_the_rest_stays() {
        let mut long = unit(Some(&vec!["p".repeat(60); 4].join(".")));
        long.service = ServiceName::parse(&"s".repeat(9)).unwrap();
        let found = candidates(&long, &long.context.label(), &NameOptions::default());
        assert_eq!(found.names.len(), 1, "only pod.svc fits into 253 bytes");
        assert_eq!(found.unusable.len(), 6);
        assert!(found.unusable[0].to_string().contains("too long"));
    }
}
