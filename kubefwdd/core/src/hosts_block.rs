//! Our block in the hosts file, as a function from bytes to bytes.
//!
//! ```text
//! # kubefwd begin (managed by kubefwdd: lines with "# kubefwd" come and go)
//! 127.1.27.1<tab>api api.default api.default.svc<tab># kubefwd
//! # kubefwd end
//! ```
//!
//! What is ours is decided line by line: the two markers, and between them only lines that end in
//! the tag. Everything else is foreign and its bytes are never changed, wherever it stands and
//! whatever became of the markers. [`remove`] gives the bytes from before [`render`]: where a
//! newline had to be added before the block, the begin marker remembers it.

mod parse;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use kubefwd_model::HostName;
use parse::Parsed;

/// The begin marker; the file had ended with a newline, or was empty.
pub(crate) const BEGIN: &str =
    "# kubefwd begin (managed by kubefwdd: lines with \"# kubefwd\" come and go)";
/// The begin marker; a newline was added before it.
const BEGIN_AFTER_NEWLINE: &str =
    "# kubefwd begin (managed by kubefwdd: lines with \"# kubefwd\" come and go; newline added)";
/// The end marker.
pub(crate) const END: &str = "# kubefwd end";
/// The end of each line that is ours.
const TAG: &str = "\t# kubefwd";

/// The longest line written, in bytes with its newline. musl reads hosts lines into 512 bytes
/// and takes the rest for another line; glibc and macOS take longer ones.
const LINE_MAX: usize = 500;
/// The most names on one line: BSD resolvers, and macOS's with them, keep 35 aliases.
const NAMES_MAX: usize = 30;

/// The entries of the block: the names of each address, the canonical one first.
pub type HostsEntries = BTreeMap<Ipv4Addr, Vec<HostName>>;

/// The file with exactly `entries` in our block and every foreign byte as it was. Borrowed when
/// nothing has to be written.
///
/// A block that is there stays in its place, a new one goes to the end. Of several blocks the
/// first stays. No entries, no block.
#[must_use]
pub fn render<'a>(existing: &'a [u8], entries: &HostsEntries) -> Cow<'a, [u8]> {
    let Parsed {
        mut before, after, ..
    } = Parsed::of(existing);
    let mut block = String::new();
    if entries.values().any(|names| !names.is_empty()) {
        let begin = match before.last() {
            None | Some(b'\n') => BEGIN,
            Some(_) => {
                before.push(b'\n');
                BEGIN_AFTER_NEWLINE
            }
        };
        push_block(&mut block, begin, entries);
    }
    let wanted = [before.as_slice(), block.as_bytes(), after.as_slice()].concat();
    if wanted == existing {
        Cow::Borrowed(existing)
    } else {
        Cow::Owned(wanted)
    }
}

/// The file without anything of ours, as it was before the first [`render`].
#[must_use]
pub fn remove(existing: &[u8]) -> Cow<'_, [u8]> {
    render(existing, &HostsEntries::new())
}

/// The foreign bytes behind the begin of our block: they move when it grows or shrinks. Nothing where there is no block.
pub fn behind(existing: &[u8]) -> Vec<u8> {
    Parsed::of(existing).after
}

/// The names that foreign lines hold, folded to lower case. What is no DNS name is left out: no
/// service can ask for it.
#[must_use]
pub fn foreign_names(existing: &[u8]) -> BTreeSet<HostName> {
    let Parsed { before, after, .. } = Parsed::of(existing);
    let lines = before
        .split(|byte| *byte == b'\n')
        .chain(after.split(|byte| *byte == b'\n'));
    lines.flat_map(names_of_line).collect()
}

fn push_block(out: &mut String, begin: &str, entries: &HostsEntries) {
    out.push_str(begin);
    out.push('\n');
    for (address, names) in entries {
        push_lines(out, *address, names);
    }
    out.push_str(END);
    out.push('\n');
}

/// Writes the names of one address on as many lines as it takes.
fn push_lines(out: &mut String, address: Ipv4Addr, names: &[HostName]) {
    let mut names = names.iter().peekable();
    while names.peek().is_some() {
        let start = out.len();
        let mut separator = '\t';
        let mut count = 0;
        write!(out, "{address}").expect("writing to a String cannot fail");
        while let Some(name) = names.next_if(|name| {
            let length = out.len() - start + 1 + name.as_str().len() + TAG.len() + 1;
            count == 0 || (count < NAMES_MAX && length <= LINE_MAX)
        }) {
            out.push(separator);
            out.push_str(name.as_str());
            separator = ' ';
            count += 1;
        }
        out.push_str(TAG);
        out.push('\n');
    }
}

/// The names on one line, as resolvers read it: a comment ends it, the first field is the address.
fn names_of_line(line: &[u8]) -> Vec<HostName> {
    let content = line.split(|byte| *byte == b'#').next().unwrap_or_default();
    let text = String::from_utf8_lossy(content);
    let mut fields = text.split_ascii_whitespace();
    let address = fields.next().unwrap_or_default();
    // A link-local address may carry its zone.
    let address = address.split('%').next().unwrap_or_default();
    if address.parse::<IpAddr>().is_err() {
        return Vec::new();
    }
    fields
        .filter_map(|field| HostName::parse(field).ok())
        .collect()
}

#[cfg(test)]
mod tests;
