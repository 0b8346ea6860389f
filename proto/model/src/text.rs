//! Text from others, made safe for logs, terminals and JSON.

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
}
