//! An error as standard error shows it: what, why, and what to do.

use kubefwd_model::text::printable;

/// Causes that are listed; the rest is only counted.
const MAX_CAUSES: usize = 20;

/// The whole message, with its final newline.
pub(super) fn message(what: &str, causes: &[String], hint: &str, coloured: bool) -> String {
    let label = match coloured {
        true => "\x1b[1;31merror:\x1b[0m",
        false => "error:",
    };
    let mut text = format!("{label} {}\n", printable(what));
    let all = || causes.iter().flat_map(|cause| cause.lines());
    push_lines(&mut text, "  cause: ", all().take(MAX_CAUSES));
    let left = all().skip(MAX_CAUSES).count();
    if left > 0 {
        text += &format!("         and {left} more\n");
    }
    push_lines(&mut text, "  hint: ", hint.lines());
    text
}

/// The title before the first line, and the others below it.
fn push_lines<'a>(text: &mut String, title: &str, lines: impl Iterator<Item = &'a str>) {
    let width = title.len();
    for (at, line) in lines.enumerate() {
        let title = if at == 0 { title } else { "" };
        *text += &format!("{title:width$}{}\n", printable(line));
    }
}
