//! The protobuf form of reviews, in which `kubectl auth can-i` sends them.

use serde_json::{Map, Value, json};

/// What every message of the API begins with, before a `runtime.Unknown`.
const MAGIC: &[u8] = b"k8s\0";

/// The names of the fields of `authorization.v1.ResourceAttributes` with the numbers 1, 2…
const RESOURCE_ATTRIBUTES: [&str; 7] = [
    "namespace",
    "verb",
    "group",
    "version",
    "resource",
    "subresource",
    "name",
];

/// The `spec` of a SelfSubjectAccessReview or SelfSubjectRulesReview, as it is in JSON.
pub(crate) fn review_spec(body: &[u8]) -> Option<Value> {
    let unknown = body.strip_prefix(MAGIC)?;
    let review = bytes_field(unknown, 2)?;
    let Some(spec) = bytes_field(review, 2) else {
        return Some(json!({}));
    };
    let mut value = Map::new();
    for (number, content) in fields(spec) {
        match (number, content) {
            // In a rules review field 1 is the namespace itself, in an access review a message: a namespace is a DNS
            // label and never begins with a field's tag byte.
            (1, content) if content.first().is_some_and(u8::is_ascii_alphanumeric) => {
                value.insert("namespace".into(), text(content));
            }
            (1, content) => {
                let names = &RESOURCE_ATTRIBUTES;
                value.insert("resourceAttributes".into(), named(content, names));
            }
            (2, content) => {
                value.insert(
                    "nonResourceAttributes".into(),
                    named(content, &["path", "verb"]),
                );
            }
            _ => {}
        }
    }
    Some(Value::Object(value))
}

fn named(message: &[u8], names: &[&str]) -> Value {
    let mut value = Map::new();
    for (number, content) in fields(message) {
        if let Some(name) = number.checked_sub(1).and_then(|n| names.get(n))
            && !content.is_empty()
        {
            value.insert((*name).to_owned(), text(content));
        }
    }
    Value::Object(value)
}

fn text(content: &[u8]) -> Value {
    Value::String(String::from_utf8_lossy(content).into_owned())
}

fn bytes_field(message: &[u8], wanted: usize) -> Option<&[u8]> {
    fields(message)
        .find(|(number, _)| *number == wanted)
        .map(|(_, content)| content)
}

/// The length-delimited fields of a message; others are skipped, rubbish ends it.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let tag = varint(&mut message)?;
            match tag & 7 {
                0 => {
                    varint(&mut message)?;
                }
                1 => message = message.get(8..)?,
                2 => {
                    let length = usize::try_from(varint(&mut message)?).ok()?;
                    let (content, rest) = message.split_at_checked(length)?;
                    message = rest;
                    return Some((usize::try_from(tag >> 3).ok()?, content));
                }
                5 => message = message.get(4..)?,
                _ => return None,
            }
        }
    })
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        out.extend_from_slice(content);
        out
    }

    fn body(spec: &[u8]) -> Vec<u8> {
        let review = [field(1, b""), field(2, spec)].concat();
        let unknown = [field(1, &field(2, b"kind")), field(2, &review)].concat();
        [MAGIC, &unknown].concat()
    }

    #[test]
    fn an_access_review() {
        let attributes = [
            field(1, b"demo"),
            field(2, b"create"),
            field(3, b""),
            field(5, b"pods"),
            field(6, b"portforward"),
        ]
        .concat();
        assert_eq!(
            review_spec(&body(&field(1, &attributes))),
            Some(json!({"resourceAttributes": {
                "namespace": "demo", "verb": "create", "resource": "pods", "subresource": "portforward",
            }}))
        );
    }

    #[test]
    fn a_rules_review() {
        assert_eq!(
            review_spec(&body(&field(1, b"demo"))),
            Some(json!({"namespace": "demo"}))
        );
    }

    proptest::proptest! {
        #[test]
        fn rubbish_is_no_review_or_an_odd_one(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
            let _ = review_spec(&[MAGIC, &bytes].concat());
        }
    }
}
