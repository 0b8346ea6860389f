//! Refusals of every kind.

use http::StatusCode;

use super::*;

fn refused(status: u16, message: &str, is_status: bool) -> AttemptError {
    AttemptError::Upgrade(UpgradeError::Refused {
        status: StatusCode::from_u16(status).unwrap(),
        reason: Reason {
            message: message.to_owned(),
            is_status,
        },
    })
}

#[test]
fn refusals_of_a_transport_lead_to_the_next_and_those_of_a_pod_do_not() {
    let another = [
        refused(400, "query parameter \"port\" is required", true),
        refused(400, "Upgrade request required", true),
        refused(400, "Bad Request", false),
        refused(403, "upgrade_failed", false),
        refused(
            403,
            "pods \"a\" is forbidden: User \"u\" cannot create resource",
            true,
        ),
        refused(404, "page not found", false),
        refused(405, "", false),
        refused(200, "hello", false),
    ];
    for error in another {
        assert!(error.suggests_another_transport());
    }
    let final_ones = [
        refused(400, "pod pending does not have a host assigned", true),
        refused(404, "pods \"nope\" not found", true),
        refused(404, "pod does not exist", false),
        refused(500, "boom", true),
        refused(503, "", false),
        refused(401, "Unauthorized", true),
    ];
    for error in final_ones {
        assert!(!error.suggests_another_transport());
    }
}

#[test]
fn the_missing_verb_is_found() {
    let message = "pods \"a\" is forbidden: User \"u\" cannot get resource \"pods/portforward\" in API group \"\"";
    assert_eq!(missing_verb(message), Some("get"));
    assert_eq!(missing_verb("no"), None);
}
