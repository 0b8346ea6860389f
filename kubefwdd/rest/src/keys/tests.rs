//! Keys are compared with what exists.

use kubefwd_core::samples::{self, actor, forward as sample_forward};

use super::*;

const ARN: &str = "arn:aws:eks:eu-1:12:cluster/prod.v2";

fn view() -> View {
    let mut view = View::default();
    let arn = format!("api.shop.{ARN}");
    for (uid, name, context) in [
        (1, "api", ARN),
        (1, "api", "kind"),
        (2, "api", "kind"),
        (1, "db", "kind"),
    ] {
        let mut service = samples::service(uid.into(), name, "shop", context);
        let key = service.key.to_string();
        service.headless = name == "db";
        let units = match service.headless {
            true => vec![
                (None, "db-0"),
                (Some("db-0"), "db-0"),
                (Some("db-1"), "db-1"),
            ],
            false => vec![(None, "api-6f")],
        };
        for (own, pod) in units {
            for port in [9090, 80] {
                let unit = own.map_or(key.clone(), |pod| format!("{pod}.{key}"));
                let mut forward = sample_forward(&format!("{unit}.{pod}.{port}"), port);
                forward.pod = pod.to_owned();
                forward.pod_address = own.is_some();
                service.forwards.push(forward);
            }
        }
        samples::add(&mut view, service);
    }
    assert!(view.services.keys().any(|key| key.to_string() == arn));
    view
}

fn keys(key: &str, uid: Uid) -> Vec<String> {
    let found = forwards(&view(), &actor(uid), key).unwrap_or_default();
    found
        .iter()
        .map(|found| format!("{}:{}", found.service.key.uid, found.forward().key))
        .collect()
}

#[test]
fn a_service_is_found_by_a_context_with_any_character() {
    let found = service(&view(), &actor(1.into()), &format!("api.shop.{ARN}")).unwrap();
    assert_eq!(found.service.key.context.as_str(), ARN);
    let pod = service(&view(), &actor(1.into()), "db-1.db.shop.kind").unwrap();
    assert_eq!(
        (pod.pod.as_deref(), pod.forwards().count()),
        (Some("db-1"), 2)
    );
    assert_eq!(
        service(&view(), &actor(1.into()), "api.shop.none")
            .unwrap_err()
            .status,
        404
    );
    assert_eq!(
        service(&view(), &actor(1.into()), "api")
            .unwrap_err()
            .status,
        400
    );
    // A pod of a service with a cluster address has no key of its own.
    assert_eq!(
        service(&view(), &actor(1.into()), "api-6f.api.shop.kind")
            .unwrap_err()
            .status,
        404
    );
}

#[test]
fn a_forward_is_found_in_every_form() {
    let canonical = format!("api.shop.{ARN}.api-6f.9090");
    assert_eq!(keys(&canonical, 1.into()), [format!("1:{canonical}")]);
    let both = ["1:api.shop.kind.api-6f.80", "1:api.shop.kind.api-6f.9090"];
    for key in ["api-6f.shop.kind", "api-6f.api.shop.kind", "api.shop.kind"] {
        assert_eq!(keys(key, 1.into()), both, "{key}");
    }
    assert!(
        keys("api.shop.kin", 1.into()).is_empty()
            && keys("api.shop.kind.api-6f.81", 1.into()).is_empty()
    );
}

#[test]
fn a_headless_service_and_its_pods_are_told_apart() {
    let first = |key: &str| keys(key, 1.into()).into_iter().next().unwrap();
    for key in ["db.shop.kind.db-0.80", "db-0.db.shop.kind.db-0.80"] {
        assert_eq!(keys(key, 1.into()), [format!("1:{key}")]);
    }
    // Where the service leads to another pod, this has always been the pod's.
    let other = keys("db.shop.kind.db-1.80", 1.into());
    assert_eq!(other, ["1:db-1.db.shop.kind.db-1.80"]);
    assert_eq!(keys("db.shop.kind", 1.into()).len(), 6);
    assert_eq!(first("db.shop.kind"), "1:db.shop.kind.db-0.80");
    for key in ["db-0.db.shop.kind", "db-0.shop.kind"] {
        assert_eq!(keys(key, 1.into()).len(), 4);
        assert_eq!(first(key), "1:db-0.db.shop.kind.db-0.80");
    }
}

#[test]
fn nobody_finds_what_is_another_users() {
    assert_eq!(
        keys("api.shop.kind", 2.into())[0],
        "2:api.shop.kind.api-6f.80"
    );
    assert!(keys("db.shop.kind", 2.into()).is_empty());
    assert_eq!(
        service(&view(), &actor(2.into()), "db.shop.kind")
            .unwrap_err()
            .status,
        404
    );
    // Root finds everybody's, of one user at a time.
    assert_eq!(keys("api.shop.kind", 0.into()).len(), 2);
    assert_eq!(visible(&view(), &actor(0.into())).count(), 4);
    assert_eq!(visible(&view(), &actor(2.into())).count(), 1);
}

#[test]
fn a_namespace_key_ends_with_its_context() {
    let key = namespace_key(3.into(), &format!("shop.{ARN}")).unwrap();
    assert_eq!(
        (key.namespace.as_str(), key.context.as_str()),
        ("shop", ARN)
    );
    for malformed in ["shop", "", ".kind", "shop.", "Shop.kind", "a_b.c"] {
        assert_eq!(
            namespace_key(3.into(), malformed).unwrap_err().status,
            400,
            "{malformed}"
        );
    }
}
