//! Text from others, made safe for logs, terminals and JSON.

use derive_more::{Debug, Deref, Display};
use serde::{Deserialize, Deserializer, Serialize};

/// Text of at most [`Text::MAX`] bytes and without control characters, wherever it came from.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Debug, Deref, Display, Serialize)]
#[debug("{_0:?}")]
#[serde(transparent)]
pub struct Text(#[deref(forward)] Box<str>);

/// One line without control characters: each becomes a space.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The same, cut to `limit` bytes at a character boundary.
pub fn clean(text: &str, limit: usize) -> String {
    let mut cut = text.len().min(limit);
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    printable(&text[..cut])
}

// === impl Text ===

impl Text {
    /// Longer texts are cut, bytes; an ellipsis says so.
    pub const MAX: usize = 4096;

    /// The text, unless it is empty.
    pub fn non_empty(text: impl Into<Self>) -> Option<Self> {
        Some(text.into()).filter(|text| !text.is_empty())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        if text.len() <= Self::MAX && !text.contains(char::is_control) {
            return Self(text.into());
        }
        let mut cleaned = clean(&text, Self::MAX);
        if text.len() > Self::MAX {
            cleaned.push('…');
        }
        Self(cleaned.into())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

/// What is missing is empty, as it is in protobuf.
impl<T: Into<Text>> From<Option<T>> for Text {
    fn from(text: Option<T>) -> Self {
        text.map(Into::into).unwrap_or_default()
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0.into()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_characters_and_freed_of_controls() {
        assert_eq!(clean("a\nb\u{1b}[31m", 100), "a b [31m");
        assert_eq!(clean("ööö", 3), "ö");
    }

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r\nc\u{9b}d"), "a [2Jb  c d");
    }

    #[test]
    fn a_text_is_bounded_whether_it_was_made_or_decoded() {
        let long = "ö".repeat(Text::MAX);
        let made = Text::from(long.as_str());
        assert!(made.ends_with("ö…") && made.len() <= Text::MAX + '…'.len_utf8());
        let decoded: Text = serde_json::from_value(long.into()).unwrap();
        assert_eq!(made, decoded);
        assert_eq!(Text::from(&*made), made, "cutting it again changes nothing");
        let decoded: Text = serde_json::from_str(r#""a\nb\u001b""#).unwrap();
        assert_eq!(decoded, "a b ");
    }
}
