//! Text from others, made safe for logs, terminals and JSON.

/// Cuts a text to `limit` bytes, at a character boundary, and replaces control characters by spaces.
pub fn clean(text: &str, limit: usize) -> String {
    let mut cut = text.len().min(limit);
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    text[..cut]
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_characters_and_freed_of_controls() {
        assert_eq!(clean("a\nb\u{1b}[31m", 100), "a b [31m");
        assert_eq!(clean("ööö", 3), "ö");
    }
}
