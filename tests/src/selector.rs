//! Label and field selectors.

use std::iter::Peekable;
use std::str::Chars;

/// A parsed selector: all requirements must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    NotExists,
}

/// A selector that does not parse; the text is what the API server's answer quotes.
#[derive(Debug, thiserror::Error)]
#[error("unable to parse requirement: {0}")]
pub(crate) struct SelectorError(String);

impl Selector {
    /// Parses a label selector: `a=b`, `a==b`, `a!=b`, `a in (x,y)`, `a notin (x)`, `a`, `!a`, joined by commas.
    pub(crate) fn labels(text: &str) -> Result<Self, SelectorError> {
        let mut chars = text.chars().peekable();
        let mut requirements = Vec::new();
        loop {
            skip_spaces(&mut chars);
            if chars.peek().is_none() {
                return Ok(Self(requirements));
            }
            requirements.push(requirement(&mut chars)?);
            skip_spaces(&mut chars);
            match chars.next() {
                None => return Ok(Self(requirements)),
                Some(',') => {}
                Some(other) => {
                    return Err(SelectorError(format!(
                        "found '{other}', expected: ',' or 'end of string'"
                    )));
                }
            }
        }
    }

    /// Parses a field selector: `a=b`, `a==b`, `a!=b`, joined by commas.
    pub(crate) fn fields(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (key, value, negated) = if let Some((key, value)) = part.split_once("!=") {
                (key, value, true)
            } else if let Some((key, value)) = part.split_once("==") {
                (key, value, false)
            } else if let Some((key, value)) = part.split_once('=') {
                (key, value, false)
            } else {
                return Err(SelectorError(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            let values = vec![value.to_owned()];
            requirements.push(Requirement {
                key: key.to_owned(),
                test: if negated {
                    Test::NotIn(values)
                } else {
                    Test::In(values)
                },
            });
        }
        Ok(Self(requirements))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|requirement| requirement.key.as_str())
    }

    /// Whether an object with these values (looked up by key) is selected.
    pub(crate) fn matches<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| {
            let value = lookup(&requirement.key);
            match &requirement.test {
                Test::In(values) => value.is_some_and(|v| values.iter().any(|w| w == v)),
                Test::NotIn(values) => value.is_none_or(|v| values.iter().all(|w| w != v)),
                Test::Exists => value.is_some(),
                Test::NotExists => value.is_none(),
            }
        })
    }
}

fn skip_spaces(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
}

fn word(chars: &mut Peekable<Chars<'_>>) -> String {
    skip_spaces(chars);
    let mut word = String::new();
    while let Some(c) = chars.next_if(|c| !c.is_whitespace() && !",()=!".contains(*c)) {
        word.push(c);
    }
    word
}

fn requirement(chars: &mut Peekable<Chars<'_>>) -> Result<Requirement, SelectorError> {
    let negated = chars.next_if_eq(&'!').is_some();
    let key = word(chars);
    if key.is_empty() {
        return Err(SelectorError("found '', expected: identifier".to_owned()));
    }
    if negated {
        return Ok(Requirement {
            key,
            test: Test::NotExists,
        });
    }
    skip_spaces(chars);
    let test = match chars.peek() {
        None | Some(',') => Test::Exists,
        Some('=') => {
            chars.next();
            chars.next_if_eq(&'=');
            Test::In(vec![word(chars)])
        }
        Some('!') => {
            chars.next();
            if chars.next() != Some('=') {
                return Err(SelectorError(
                    "found '!', expected: '=', '!=', '==', 'in', notin'".to_owned(),
                ));
            }
            Test::NotIn(vec![word(chars)])
        }
        Some(_) => match word(chars).as_str() {
            "in" => Test::In(set(chars)?),
            "notin" => Test::NotIn(set(chars)?),
            other => {
                return Err(SelectorError(format!(
                    "found '{other}', expected: in, notin, =, ==, !=, gt, lt"
                )));
            }
        },
    };
    Ok(Requirement { key, test })
}

fn set(chars: &mut Peekable<Chars<'_>>) -> Result<Vec<String>, SelectorError> {
    skip_spaces(chars);
    if chars.next() != Some('(') {
        return Err(SelectorError("found '', expected: '('".to_owned()));
    }
    let mut values = Vec::new();
    loop {
        values.push(word(chars));
        skip_spaces(chars);
        match chars.next() {
            Some(',') => {}
            Some(')') => return Ok(values),
            _ => return Err(SelectorError("found '', expected: ',' or ')'".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        Selector::labels(selector)
            .unwrap()
            .matches(|key| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v))
    }

    #[test]
    fn every_operator_of_label_selectors() {
        let labels = [("app", "web"), ("tier", "front")];
        for (selector, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app=web,tier=back", false),
            ("app!=web", false),
            ("missing!=x", true),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("missing notin (x)", true),
            ("app", true),
            ("!app", false),
            ("!missing , app in (web)", true),
        ] {
            assert_eq!(selects(selector, &labels), expected, "{selector}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["app in web", "a b", "=x", "a in (b", "a!b"] {
            assert!(Selector::labels(text).is_err(), "{text}");
        }
        assert!(Selector::fields("metadata.name").is_err());
    }

    #[test]
    fn field_selectors() {
        let selector = Selector::fields("metadata.name=a,status.phase!=Failed").unwrap();
        let look = |phase: &'static str| {
            move |key: &str| match key {
                "metadata.name" => Some("a"),
                "status.phase" => Some(phase),
                _ => None,
            }
        };
        assert!(selector.matches(look("Running")));
        assert!(!selector.matches(look("Failed")));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,60}") {
            let _ = Selector::labels(&text);
            let _ = Selector::fields(&text);
        }
    }
}
