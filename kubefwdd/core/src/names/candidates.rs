//! Every name that a service, or a pod of a headless service, asks for.

use std::collections::BTreeSet;

use kubefwd_model::{DnsLabel, HostName, UnitKey};

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
    /// Whether it is the copy with `-` for every dot.
    pub dashed: bool,
}

/// The names of a unit, where `context` is the label of its context (see [`super::ContextLabels`]): shortest forms first,
/// dashed copies last, without repetition. A form that is too long for DNS is left out.
///
/// A pod of a headless service asks for the same names as its service would, each with the pod's
/// name and a dot before it.
#[must_use]
pub fn candidates(unit: &UnitKey, context: &DnsLabel, options: &NameOptions) -> Vec<Candidate> {
    let svc = match &unit.pod {
        // One label, as in the cluster: a pod's name with dots would name a host of another domain.
        Some(pod) => format!("{}.{}", pod.as_str().replace('.', "-"), unit.service),
        None => unit.service.to_string(),
    };
    let ns = &unit.namespace;
    let domain = options.domain.as_ref();
    let mut forms = vec![svc.clone()];
    forms.extend(domain.map(|domain| format!("{svc}.{domain}")));
    forms.extend([
        format!("{svc}.{ns}"),
        format!("{svc}.{ns}.svc"),
        format!("{svc}.{ns}.svc.cluster.local"),
    ]);
    forms.extend(domain.map(|domain| format!("{svc}.{ns}.svc.cluster.{domain}")));
    forms.extend([
        format!("{svc}.{ns}.{context}"),
        format!("{svc}.{ns}.svc.{context}"),
        format!("{svc}.{ns}.svc.cluster.{context}"),
    ]);

    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut push = |text: &str, dashed: bool| {
        if let Ok(name) = HostName::parse(text)
            && seen.insert(name.clone())
        {
            found.push(Candidate { name, dashed });
        }
    };
    for text in forms {
        if options.dashed && text.contains('.') {
            push(&text.replace('.', "-"), true);
        }
        push(&text, false);
    }
    // Plain names first: where a dashed copy equals a plain form of the same unit, or lines are
    // read by people, the plain form is the one that counts.
    found.sort_by_key(|candidate| candidate.dashed);
    found
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
        candidates(unit, &unit.context.label(), options)
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
    fn a_pods_name_is_one_label() {
        let found = names(&unit(Some("vault.service")), &NameOptions::default());
        assert_eq!(found[0], "vault-service.api");
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
    fn forms_too_long_for_dns_are_left_out() {
        let long = unit(Some(&format!("{0}.{0}", "p".repeat(60))));
        assert_eq!(names(&long, &NameOptions::default()), [""; 0]);
        let mut long = unit(None);
        long.context = ContextName::parse(&"c".repeat(63)).unwrap();
        long.service = ServiceName::parse(&"s".repeat(63)).unwrap();
        long.namespace = NamespaceName::parse(&"n".repeat(63)).unwrap();
        assert_eq!(names(&long, &NameOptions::default()).len(), 7);
    }
}
