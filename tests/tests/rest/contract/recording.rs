//! The recorded answers: one file for each topic, compared or rewritten as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value};
use similar::TextDiff;

use super::mask::Mask;

/// Present and `1`: the files are rewritten.
const UPDATE: &str = "UPDATE_CONTRACT";

/// What was answered so far.
pub(crate) struct Recording {
    pub(crate) mask: Mask,
    /// Answers in JSON, by topic and question.
    answers: BTreeMap<String, Map<String, Value>>,
    /// Whole files, by name.
    files: BTreeMap<String, String>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/contract")
}

impl Recording {
    pub(crate) fn new(mask: Mask) -> Self {
        Self {
            mask,
            answers: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    /// The answer to a question of a topic, which is asked once.
    pub(crate) fn answer(&mut self, topic: &str, question: &str, mut answer: Value) {
        self.mask.value(&mut answer);
        let question = self.mask.prose(question);
        let topic = self.answers.entry(topic.to_owned()).or_default();
        let before = topic.insert(question.clone(), answer);
        assert!(before.is_none(), "{question} was asked twice");
    }

    /// A whole file of JSON.
    pub(crate) fn json(&mut self, name: &str, mut value: Value) {
        self.mask.value(&mut value);
        self.file(name, pretty(&value));
    }

    /// A whole file of YAML.
    pub(crate) fn yaml(&mut self, name: &str, mut value: Value) {
        self.mask.value(&mut value);
        self.file(name, yaml_serde::to_string(&value).unwrap());
    }

    /// A whole file, which is masked already.
    pub(crate) fn file(&mut self, name: &str, text: String) {
        let before = self.files.insert(name.to_owned(), text);
        assert!(before.is_none(), "{name} was recorded twice");
    }

    /// Another section of a text.
    pub(crate) fn section(&mut self, name: &str, title: &str, text: &str) {
        let file = self.files.entry(name.to_owned()).or_default();
        let (title, text) = (self.mask.prose(title), self.mask.lines(text));
        file.push_str(&format!("# {title}\n{text}\n"));
    }

    /// Compares all files, or rewrites them.
    ///
    /// # Panics
    /// With every difference.
    pub(crate) fn check(mut self) {
        for (topic, answers) in std::mem::take(&mut self.answers) {
            self.file(&format!("{topic}.json"), pretty(&Value::Object(answers)));
        }
        let recorded = read();
        if std::env::var(UPDATE).is_ok_and(|value| value == "1") {
            return self.write(&recorded);
        }
        let names: BTreeSet<&String> = recorded.keys().chain(self.files.keys()).collect();
        let differences: Vec<String> = names
            .into_iter()
            .flat_map(|name| match (recorded.get(name), self.files.get(name)) {
                (Some(old), Some(new)) if old == new => Vec::new(),
                (Some(old), Some(new)) => differences(name, old, new),
                (Some(_), None) => vec![format!("{name}: no longer answered")],
                (None, _) => vec![format!("{name}: not recorded")],
            })
            .collect();
        assert!(
            differences.is_empty(),
            "{} differences from the recorded contract ({UPDATE}=1 records what is meant to change):\n{}",
            differences.len(),
            differences.join("\n")
        );
    }

    fn write(&self, recorded: &BTreeMap<String, String>) {
        fs::create_dir_all(folder()).unwrap();
        for name in recorded.keys() {
            fs::remove_file(folder().join(name)).unwrap();
        }
        for (name, text) in &self.files {
            fs::write(folder().join(name), text).unwrap();
        }
    }
}

fn read() -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder()).into_iter().flatten();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

fn differences(name: &str, old: &str, new: &str) -> Vec<String> {
    let values = if name.ends_with(".txt") {
        None
    } else {
        // JSON is YAML.
        yaml_serde::from_str(old)
            .ok()
            .zip(yaml_serde::from_str(new).ok())
    };
    let mut found = Vec::new();
    match values {
        Some((old, new)) => compare(name, &old, &new, &mut found),
        None => {
            let diff = TextDiff::from_lines(old, new);
            found.push(format!("{name}:\n{}", diff.unified_diff()));
        }
    }
    found
}

/// Adds where two values differ: the path, the old value and the new one.
fn compare(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(olds), Value::Object(news)) => {
            let names: BTreeSet<&String> = olds.keys().chain(news.keys()).collect();
            for name in names {
                either(
                    &format!("{path} / {name}"),
                    olds.get(name),
                    news.get(name),
                    found,
                );
            }
        }
        (Value::Array(olds), Value::Array(news)) => {
            for at in 0..olds.len().max(news.len()) {
                either(&format!("{path} / {at}"), olds.get(at), news.get(at), found);
            }
        }
        _ if old == new => {}
        _ => found.push(format!("{path}\n    old: {old}\n    new: {new}")),
    }
}

fn either(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<String>) {
    match (old, new) {
        (Some(old), Some(new)) => compare(path, old, new, found),
        (Some(old), None) => found.push(format!("{path}\n    old: {old}\n    new is missing")),
        (None, Some(new)) => found.push(format!("{path}\n    old is missing\n    new: {new}")),
        (None, None) => {}
    }
}
