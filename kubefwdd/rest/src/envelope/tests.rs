//! The shape of every answer.

use super::*;

#[test]
fn every_key_of_the_envelope_is_there() {
    let value = serde_json::to_value(Envelope::list([1, 2], 2)).unwrap();
    assert_eq!(value["success"], true);
    assert_eq!(value["data"], serde_json::json!([1, 2]));
    assert!(value.as_object().unwrap().contains_key("error") && value["error"].is_null());
    assert_eq!(value["meta"]["count"], 2);
    let text = serde_json::to_string(&Envelope::new(())).unwrap();
    assert!(!text.contains("count"), "{text}");
}
