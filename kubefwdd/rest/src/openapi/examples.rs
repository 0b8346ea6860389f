//! Examples in the description: of fields by their names, of answers and bodies put together from those of their fields.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Values by the name of a field, and by schema where a field is something else there.
#[derive(Default, Deserialize)]
struct Examples {
    fields: Map<String, Value>,
    types: BTreeMap<String, Map<String, Value>>,
}

/// Gives each answer and body an example that is put together from those of its fields.
pub(super) fn add(document: &mut Value) {
    add_to_fields(document);
    let schemas = document["components"]["schemas"].clone();
    let Some(paths) = document["paths"].as_object_mut() else {
        return;
    };
    let operations = paths
        .values_mut()
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut);
    for operation in operations {
        let mut contents: Vec<&mut Value> = Vec::new();
        let Some(operation) = operation.as_object_mut() else {
            continue;
        };
        for (part, value) in operation {
            match part.as_str() {
                "requestBody" => contents.extend(value.get_mut("content")),
                "responses" => {
                    let responses = value.as_object_mut().into_iter().flat_map(Map::values_mut);
                    contents.extend(responses.filter_map(|response| response.get_mut("content")));
                }
                _ => {}
            }
        }
        let media = contents
            .into_iter()
            .filter_map(Value::as_object_mut)
            .flat_map(Map::values_mut);
        for media in media.filter_map(Value::as_object_mut) {
            if !media.contains_key("example")
                && let Some(schema) = media.get("schema")
            {
                let example = example(schema, &schemas, &mut BTreeSet::new());
                media.insert("example".to_owned(), example);
            }
        }
    }
}

/// A value that fits a schema.
fn example(schema: &Value, schemas: &Value, open: &mut BTreeSet<String>) -> Value {
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    if let Some(example) = schema.get("examples").and_then(|examples| examples.get(0)) {
        return example.clone();
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        // A type that holds itself ends here.
        if !open.insert(name.to_owned()) {
            return Value::Null;
        }
        let value = example(&schemas[name], schemas, open);
        open.remove(name);
        return value;
    }
    if let Some(value) = schema["enum"].get(0) {
        return value.clone();
    }
    for choice in ["oneOf", "anyOf"] {
        let choices = schema[choice].as_array().into_iter().flatten();
        let mut choices = choices.filter(|choice| choice["type"] != "null");
        if let Some(first) = choices.next() {
            return example(first, schemas, open);
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let parts = parts.iter().map(|part| example(part, schemas, open));
        let fields = parts.filter_map(|part| part.as_object().cloned()).flatten();
        return Value::Object(fields.collect());
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds
            .iter()
            .find(|kind| *kind != "null")
            .cloned()
            .unwrap_or_default(),
        kind => kind.clone(),
    };
    match kind.as_str() {
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            let fields = fields.map(|(name, field)| (name.clone(), example(field, schemas, open)));
            Value::Object(fields.collect())
        }
        Some("array") => json!([example(&schema["items"], schemas, open)]),
        Some("string") => json!("text"),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(0)),
        Some("boolean") => json!(false),
        _ => Value::Null,
    }
}

/// Gives each field the example of its name.
fn add_to_fields(document: &mut Value) {
    // A file that cannot be read is noticed by every test of the description.
    let examples: Examples =
        serde_json::from_str(include_str!("examples.json")).unwrap_or_default();
    let fill_as = |schema: &mut Value, name: &str| {
        let own = examples.types.get(name);
        fill(schema, &|field| {
            own.and_then(|own| own.get(field))
                .or_else(|| examples.fields.get(field))
        });
    };
    let schemas = document["components"]["schemas"].as_object_mut();
    for (name, schema) in schemas.into_iter().flatten() {
        let data = name.trim_start_matches("Envelope_");
        fill_as(schema, data.trim_start_matches("Vec_"));
    }
    // What stands in the routes themselves are refusals.
    fill_as(&mut document["paths"], "ErrorResponse");
}

fn fill<'a>(schema: &mut Value, of: &impl Fn(&str) -> Option<&'a Value>) {
    match schema {
        Value::Array(parts) => parts.iter_mut().for_each(|part| fill(part, of)),
        Value::Object(parts) => {
            let fields = parts.get_mut("properties").and_then(Value::as_object_mut);
            for (name, field) in fields.into_iter().flatten() {
                if field.get("example").or(field.get("examples")).is_none()
                    && let Some(example) = of(name).filter(|example| fits(field, example))
                {
                    field["example"] = example.clone();
                }
            }
            parts.values_mut().for_each(|part| fill(part, of));
        }
        _ => {}
    }
}

/// Whether a value is of a schema's type.
fn fits(schema: &Value, value: &Value) -> bool {
    let kind = match value {
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(items) => {
            let each = &schema["items"];
            return each.is_object() && items.iter().all(|item| fits(each, item));
        }
        Value::Object(_) => return schema["additionalProperties"].is_object(),
        Value::Null => return false,
    };
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(|one| one == kind),
        one => one == kind,
    }
}
