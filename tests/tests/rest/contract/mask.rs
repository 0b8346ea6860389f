//! Takes out of an answer what differs between runs, and nothing else: the value is replaced by its kind, the name stays.

use kubefwd_tests::harness::Sandbox;
use serde_json::{Map, Value, json};

/// Counters and numbers of the system that differ between runs.
const NUMBERS: [&str; 12] = [
    "firstbytemicros",
    "firstbyteus",
    "id",
    "nanos",
    "pid",
    "revision",
    "seconds",
    "writes",
    // Steps of a history: which one has the bytes depends on the clock.
    "history.bytesin",
    "history.bytesout",
    "history.ratein",
    "history.rateout",
];
/// Bytes per second, which fall while time passes.
const RATES: [&str; 6] = [
    "avgratein",
    "avgrateout",
    "ratein",
    "rateout",
    "totalratein",
    "totalrateout",
];
/// Texts that differ between runs or machines, and what they are.
const TEXTS: [(&str, &str); 9] = [
    ("age", "<duration>"),
    ("controllerrevisionhash", "<hash>"),
    ("duration", "<duration>"),
    ("firstbyte", "<duration>"),
    ("id", "<id>"),
    ("idleduration", "<duration>"),
    ("platform", "<platform>"),
    ("uptime", "<duration>"),
    ("version", "<version>"),
];

/// What is replaced in every text.
pub(crate) struct Mask(Vec<(String, &'static str)>);

impl Mask {
    pub(crate) fn new(sandbox: &Sandbox) -> Self {
        let program = std::fs::read_to_string("/proc/self/comm").unwrap();
        Self(vec![
            (program.trim().to_owned(), "<program>"),
            (
                concat!("kubefwdd ", env!("CARGO_PKG_VERSION")).to_owned(),
                "kubefwdd <version>",
            ),
            (sandbox.dir().display().to_string(), "<dir>"),
            (format!("pid {}", std::process::id()), "pid <pid>"),
        ])
    }

    /// Masks a JSON value as a whole.
    pub(crate) fn value(&self, value: &mut Value) {
        self.field("", "", value);
    }

    fn field(&self, parent: &str, name: &str, value: &mut Value) {
        match value {
            Value::Object(fields) => self.fields(name, fields),
            Value::Array(items) => items
                .iter_mut()
                .for_each(|item| self.field(parent, name, item)),
            _ => *value = self.scalar(parent, name, value),
        }
    }

    fn fields(&self, parent: &str, fields: &mut Map<String, Value>) {
        for (name, value) in fields {
            self.field(parent, &plain(name), value);
        }
    }

    fn scalar(&self, parent: &str, name: &str, value: &Value) -> Value {
        match value {
            Value::String(text) => json!(self.text(name, text)),
            Value::Number(number) => {
                let path = format!("{parent}.{name}");
                let varies = NUMBERS.contains(&name)
                    || NUMBERS.contains(&path.as_str())
                    || RATES.contains(&name);
                match (varies, number.is_f64()) {
                    (false, _) => value.clone(),
                    (true, false) => json!("<int>"),
                    (true, true) => json!("<float>"),
                }
            }
            _ => value.clone(),
        }
    }

    fn text(&self, name: &str, text: &str) -> String {
        if text.parse::<jiff::Timestamp>().is_ok() {
            return "<time>".to_owned();
        }
        let kind = TEXTS.iter().find(|(known, _)| *known == name);
        match kind {
            Some((_, kind)) if !text.is_empty() => (*kind).to_owned(),
            _ => self.prose(text),
        }
    }

    /// Replaces what the run chose inside of a text.
    pub(crate) fn prose(&self, text: &str) -> String {
        let text = self
            .0
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        without_ids(&text)
    }

    /// Masks lines `name: value`, as messages are printed for people.
    pub(crate) fn lines(&self, text: &str) -> String {
        text.lines().map(|line| self.line(line) + "\n").collect()
    }

    fn line(&self, line: &str) -> String {
        let masked = line.split_once(": ").and_then(|(name, rest)| {
            let (value, end) = match rest.strip_suffix(',') {
                Some(value) => (value, ","),
                None => (rest, ""),
            };
            let value: Value = serde_json::from_str(value).ok()?;
            let masked = self.scalar("", &plain(name.trim()), &value);
            let masked = match &masked {
                // Without quotes it can be told from a text.
                Value::String(kind) if value.is_number() => kind.clone(),
                masked => masked.to_string(),
            };
            Some(format!("{name}: {masked}{end}"))
        });
        masked.unwrap_or_else(|| self.prose(line))
    }
}

/// Replaces the identifiers that a cluster makes up: many hexadecimal digits without a pause.
fn without_ids(text: &str) -> String {
    let is_other = |c: char| !c.is_ascii_hexdigit() && c != '-';
    text.split_inclusive(is_other)
        .map(|part| match part.trim_end_matches(is_other) {
            id if id.len() > 32 => part.replace(id, "<id>"),
            _ => part.to_owned(),
        })
        .collect()
}

/// A name in whichever style, as the tables above have it.
fn plain(name: &str) -> String {
    name.replace(['_', '-'], "").to_ascii_lowercase()
}

#[test]
fn only_values_that_vary_are_masked() {
    let mask = Mask(vec![("/tmp/x".to_owned(), "<dir>")]);
    let mut value = json!({
        "started_at": "2026-01-15T10:30:00.000Z", "pid": 7, "rateIn": 0.5, "bytesIn": 9, "path": "/tmp/x/hosts",
        "uptime": "5s", "history": [{"bytesIn": 3}],
    });
    mask.value(&mut value);
    let expected = json!({
        "started_at": "<time>", "pid": "<int>", "rateIn": "<float>", "bytesIn": 9, "path": "<dir>/hosts",
        "uptime": "<duration>", "history": [{"bytesIn": "<int>"}],
    });
    assert_eq!(value, expected);
    let lines =
        "Status {\n    pid: 7,\n    version: \"1.2\",\n    state: Running,\n    count: 2,\n}\n";
    let expected = "Status {\n    pid: <int>,\n    version: \"<version>\",\n    state: Running,\n    count: 2,\n}\n";
    assert_eq!(mask.lines(lines), expected);
}
