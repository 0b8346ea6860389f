//! JSON as Go writes it: `<`, `>` and `&` escaped, and the indentation of `json.Indent`.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

/// serde_json's compact form with Go's extra escapes.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&']) {
            writer.write_all(&rest.as_bytes()[..at])?;
            write!(writer, "\\u{:04x}", rest.as_bytes()[at])?;
            rest = &rest[at + 1..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Compact JSON without a newline at the end.
pub(crate) fn compact(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, GoFormatter);
    value
        .serialize(&mut serializer)
        .expect("values made here have string keys, and writing to a Vec cannot fail");
    out
}

/// Re-indents compact JSON with two spaces, as the API server does for curl and browsers.
pub(crate) fn pretty(compact: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(compact.len() * 2);
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut just_opened = false;
    let newline = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + 2 * depth, b' ');
    };
    for &byte in compact {
        if in_string {
            out.push(byte);
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        if just_opened && !matches!(byte, b'}' | b']') {
            newline(&mut out, depth);
        }
        match byte {
            b'{' | b'[' => {
                depth += 1;
                out.push(byte);
                just_opened = true;
                continue;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !just_opened {
                    newline(&mut out, depth);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                newline(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            b'\n' => {}
            b'"' => {
                in_string = true;
                out.push(byte);
            }
            _ => out.push(byte),
        }
        just_opened = false;
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn escapes_as_go_does() {
        let text = String::from_utf8(compact(&json!({"a": "<none> & more"}))).unwrap();
        assert_eq!(text, r#"{"a":"\u003cnone\u003e \u0026 more"}"#);
    }

    #[test]
    fn indents_as_go_does() {
        let value = json!({"a": {}, "b": [], "c": [1, {"d": "x,{\"y\\"}], "e": null});
        let text = String::from_utf8(pretty(&compact(&value))).unwrap();
        assert_eq!(
            text,
            "{\n  \"a\": {},\n  \"b\": [],\n  \"c\": [\n    1,\n    {\n      \"d\": \"x,{\\\"y\\\\\"\n    }\n  ],\n  \"e\": null\n}"
        );
    }

    proptest::proptest! {
        #[test]
        fn indenting_changes_no_value(text in ".{0,40}", number in proptest::num::i64::ANY) {
            let value = json!({"s": text, "n": [number, {"k": text, "e": {}}], "x": []});
            let indented = pretty(&compact(&value));
            let back: serde_json::Value = serde_json::from_slice(&indented).unwrap();
            proptest::prop_assert_eq!(back, value);
        }
    }
}
