//! Telling our lines from foreign ones.

use super::{BEGIN, BEGIN_AFTER_NEWLINE, END, TAG};

/// The foreign bytes of a file, and the place of our block among them.
pub(super) struct Parsed {
    /// Foreign bytes before the block; all of them where there is none.
    pub(super) before: Vec<u8>,
    /// Foreign bytes after the block's begin, those of lines that someone put inside included.
    pub(super) after: Vec<u8>,
    /// Whether anything of ours was there.
    found: bool,
}

/// What a line is, by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Begin { newline_added: bool },
    End,
    Tagged,
    Other,
}

impl Parsed {
    /// Takes a file apart. Whatever is in it, every byte that is not ours is in `before` or
    /// `after`, in its order.
    pub(super) fn of(file: &[u8]) -> Self {
        let lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
        let kinds: Vec<Line> = lines.iter().map(|line| kind(line)).collect();
        let mut parsed = Self {
            before: Vec::with_capacity(file.len()),
            after: Vec::new(),
            found: false,
        };
        // The added newline, as bytes at the end of what was kept when its marker was met.
        let mut added: Option<(usize, usize)> = None;
        let mut index = 0;
        while index < lines.len() {
            let Line::Begin { newline_added } = kinds[index] else {
                index = parsed.take_outside(&lines, &kinds, index);
                continue;
            };
            if newline_added {
                let length = if lines[index].ends_with(b"\r\n") {
                    2
                } else {
                    1
                };
                added = Some((parsed.before.len() + parsed.after.len(), length));
            }
            parsed.found = true;
            index = parsed.skip_block(&lines, &kinds, index + 1);
        }
        // The newline is ours only while nothing follows it: it ends a foreign line by now
        // where something does.
        if let Some((_, length)) =
            added.filter(|(at, _)| *at == parsed.before.len() + parsed.after.len())
        {
            parsed.drop_newline(length);
        }
        parsed
    }

    /// Skips what is ours from just behind a begin marker on, keeps what is not, and returns the
    /// index of the first line behind the block.
    fn skip_block(&mut self, lines: &[&[u8]], kinds: &[Line], start: usize) -> usize {
        let is_marker = |line: &Line| matches!(line, Line::Begin { .. } | Line::End);
        let next_marker = kinds[start..]
            .iter()
            .position(is_marker)
            .map(|offset| start + offset);
        match next_marker {
            Some(end) if kinds[end] == Line::End => {
                for index in start..end {
                    if kinds[index] != Line::Tagged {
                        self.keep(lines[index]);
                    }
                }
                end + 1
            }
            // No end marker of its own: only what stands directly behind the begin is ours.
            _ => {
                let tagged = kinds[start..]
                    .iter()
                    .take_while(|kind| **kind == Line::Tagged);
                start + tagged.count()
            }
        }
    }

    /// Takes lines that no begin marker stands before, and returns the index of the next. A block whose writer was killed may
    /// have lost its begin: as with a missing end, only what stands directly at the marker is ours.
    fn take_outside(&mut self, lines: &[&[u8]], kinds: &[Line], start: usize) -> usize {
        let tagged = kinds[start..].iter();
        let tagged = tagged.take_while(|kind| **kind == Line::Tagged);
        let end = start + tagged.count();
        if kinds.get(end) == Some(&Line::End) {
            self.found = true;
            return end + 1;
        }
        let next = end.max(start + 1);
        for line in &lines[start..next] {
            self.keep(line);
        }
        next
    }

    fn keep(&mut self, line: &[u8]) {
        let part = if self.found {
            &mut self.after
        } else {
            &mut self.before
        };
        part.extend_from_slice(line);
    }

    /// Drops an added newline of `length` bytes (2 where an editor made it CRLF).
    fn drop_newline(&mut self, length: usize) {
        let part = if self.after.is_empty() {
            &mut self.before
        } else {
            &mut self.after
        };
        for expected in [b'\n', b'\r'].iter().take(length) {
            if part.last() == Some(expected) {
                part.pop();
            }
        }
    }
}

/// Editors and version control may have changed line ends, so trailing blanks do not count.
fn kind(line: &[u8]) -> Line {
    let text = line.trim_ascii_end();
    if text == BEGIN.as_bytes() {
        Line::Begin {
            newline_added: false,
        }
    } else if text == BEGIN_AFTER_NEWLINE.as_bytes() {
        Line::Begin {
            newline_added: true,
        }
    } else if text == END.as_bytes() {
        Line::End
    } else if text.ends_with(TAG.as_bytes()) {
        Line::Tagged
    } else {
        Line::Other
    }
}
