//! The hosts file as a reader sees it who shares no code with the daemon.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const BEGIN: &[u8] = b"# kubefwd begin";
const END: &[u8] = b"# kubefwd end";
const TAG: &str = "\t# kubefwd";

/// A hosts file, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// All bytes that are not the daemon's.
    pub foreign: Vec<u8>,
    /// The address of each name in the daemon's block.
    pub names: BTreeMap<String, Ipv4Addr>,
}

impl Hosts {
    /// Takes a hosts file apart.
    ///
    /// # Errors
    /// When it has a second block, a block without an end, or a line in the block that is not the daemon's.
    pub fn parse(content: &[u8]) -> Result<Self, String> {
        let mut hosts = Self::default();
        let (mut blocks, mut is_inside) = (0, false);
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(line);
            match (is_inside, line) {
                (false, line) if line.starts_with(BEGIN) => {
                    blocks += 1;
                    is_inside = true;
                }
                (true, line) if line.trim_ascii_end() == END => is_inside = false,
                (false, line) => hosts.foreign.extend(line),
                (true, _) => hosts.entry(&text)?,
            }
        }
        match (blocks, is_inside) {
            (0 | 1, false) => Ok(hosts),
            (_, true) => Err("the block has no end".to_owned()),
            (blocks, false) => Err(format!("{blocks} blocks")),
        }
    }

    fn entry(&mut self, line: &str) -> Result<(), String> {
        let wrong = || format!("a line in the block that is no entry: {line:?}");
        let entry = line.strip_suffix('\n').and_then(|l| l.strip_suffix(TAG));
        let (address, names) = entry.and_then(|e| e.split_once('\t')).ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        for name in names.split(' ') {
            if name.is_empty() {
                return Err(wrong());
            }
            self.names.insert(name.to_owned(), address);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_told_from_what_is_around_it() {
        let text = "10.0.0.1 a\r\n# kubefwd begin (x)\n127.1.27.1\tapi api.demo\t# kubefwd\n# kubefwd end\n\n# b";
        let hosts = Hosts::parse(text.as_bytes()).unwrap();
        assert_eq!(hosts.foreign, b"10.0.0.1 a\r\n\n# b");
        assert_eq!(hosts.names["api.demo"], Ipv4Addr::new(127, 1, 27, 1));
        for cut in ["# kubefwd end\n", "\t# kubefwd\n", " api.demo"] {
            let cut = text.find(cut).unwrap();
            assert!(Hosts::parse(&text.as_bytes()[..cut]).is_err());
        }
        let twice = format!("{text}\n{text}");
        assert_eq!(Hosts::parse(twice.as_bytes()), Err("2 blocks".to_owned()));
    }
}
