//! SPDY/3 header blocks: one zlib stream per connection and direction, with a preset dictionary.

use std::sync::LazyLock;

use flate2::{Decompress, FlushDecompress, Status};

/// The words of the dictionary (SPDY/3 draft, section 2.6.10.1), each preceded by its length on the wire.
const WORDS: &str = "options\nhead\npost\nput\ndelete\ntrace\naccept\naccept-charset\naccept-encoding\naccept-language\n\
    accept-ranges\nage\nallow\nauthorization\ncache-control\nconnection\ncontent-base\ncontent-encoding\n\
    content-language\ncontent-length\ncontent-location\ncontent-md5\ncontent-range\ncontent-type\ndate\netag\nexpect\n\
    expires\nfrom\nhost\nif-match\nif-modified-since\nif-none-match\nif-range\nif-unmodified-since\nlast-modified\n\
    location\nmax-forwards\npragma\nproxy-authenticate\nproxy-authorization\nrange\nreferer\nretry-after\nserver\nte\n\
    trailer\ntransfer-encoding\nupgrade\nuser-agent\nvary\nvia\nwarning\nwww-authenticate\nmethod\nget\nstatus\n200 OK\n\
    version\nHTTP/1.1\nurl\npublic\nset-cookie\nkeep-alive\norigin";

/// What follows the words.
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
    404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug \
    Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
    application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch\
    charset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    for word in WORDS.lines() {
        let length = u32::try_from(word.len()).expect("a word of the dictionary is short");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(TAIL.as_bytes());
    bytes
});

/// The answering side's first header block on a connection: zlib header, dictionary id, an empty set of headers.
pub(super) const FIRST_EMPTY_BLOCK: [u8; 16] = [
    0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2, 0x62, 0x60, 0x60, 0x60, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff,
];

/// Every later empty block of the same connection.
pub(super) const EMPTY_BLOCK: [u8; 10] =
    [0x62, 0x60, 0x60, 0x60, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff];

/// Go's limit for the number of headers in a block.
const MAX_HEADERS: u32 = 1000;

/// Go's limit for the length of a name or value.
const MAX_FIELD: u32 = 1024 * 1024;

/// Why a header block ends the connection.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum HeaderError {
    #[error("the header block is not a continuation of the connection's zlib stream")]
    Compression,
    #[error("the header block is cut off or longer than allowed")]
    Length,
    #[error("header {0:?} is not lower case or there twice")]
    Name(String),
}

/// Inflates and parses the header blocks of one direction of a connection.
#[derive(Debug)]
pub(super) struct HeaderReader {
    zlib: Decompress,
}

impl HeaderReader {
    pub(super) fn new() -> Self {
        Self {
            zlib: Decompress::new(true),
        }
    }

    /// Reads the next block.
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, HeaderError> {
        let plain = self.inflate(block)?;
        parse(&plain)
    }

    fn inflate(&mut self, block: &[u8]) -> Result<Vec<u8>, HeaderError> {
        let mut out = Vec::with_capacity(512);
        let start = self.zlib.total_in();
        loop {
            let consumed = (self.zlib.total_in() - start) as usize;
            if out.len() == out.capacity() {
                out.reserve(4096);
            }
            let result =
                self.zlib
                    .decompress_vec(&block[consumed..], &mut out, FlushDecompress::Sync);
            match result {
                Ok(Status::Ok) if out.len() == out.capacity() => {}
                Ok(Status::Ok | Status::BufError) => {
                    let consumed = (self.zlib.total_in() - start) as usize;
                    if consumed == block.len() {
                        return Ok(out);
                    }
                    return Err(HeaderError::Compression);
                }
                Err(error) if error.needs_dictionary().is_some() => {
                    self.zlib
                        .set_dictionary(&DICTIONARY)
                        .map_err(|_| HeaderError::Compression)?;
                }
                Ok(Status::StreamEnd) | Err(_) => return Err(HeaderError::Compression),
            }
        }
    }
}

fn parse(mut plain: &[u8]) -> Result<Vec<(String, String)>, HeaderError> {
    let count = number(&mut plain)?;
    if count > MAX_HEADERS {
        return Err(HeaderError::Length);
    }
    let mut headers: Vec<(String, String)> = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let name = field(&mut plain)?;
        let value = field(&mut plain)?;
        let known = headers.iter().any(|(other, _)| *other == name);
        if known || name.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(HeaderError::Name(name));
        }
        headers.push((name, value));
    }
    Ok(headers)
}

fn number(plain: &mut &[u8]) -> Result<u32, HeaderError> {
    let (head, rest) = plain.split_first_chunk::<4>().ok_or(HeaderError::Length)?;
    *plain = rest;
    Ok(u32::from_be_bytes(*head))
}

fn field(plain: &mut &[u8]) -> Result<String, HeaderError> {
    let length = number(plain)?;
    if length > MAX_FIELD || length as usize > plain.len() {
        return Err(HeaderError::Length);
    }
    let (text, rest) = plain.split_at(length as usize);
    *plain = rest;
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn the_dictionary_has_the_length_and_checksum_of_the_specification() {
        assert_eq!(DICTIONARY.len(), 1423);
        let mut zlib = flate2::Compress::new(flate2::Compression::fast(), true);
        assert_eq!(zlib.set_dictionary(&DICTIONARY).unwrap(), 0xe3c6_a7c2);
    }

    /// The blocks of `pf-spdy-ok.txt`, made by Go's zlib.
    #[test]
    fn compressed_blocks_of_a_real_client() {
        let mut reader = HeaderReader::new();
        let first = unhex(
            "78 f9 e3 c6 a7 c2 02 25 3a 70 3a 2b 29 4a 4d cc 85 16 25 ac a9 a0 80 86 14 cb 45 e0 1c 60 61 60 61 00 a4 \
             39 8b 20 d1 98 09 4a de 8c 06 00 00 00 00 ff ff",
        );
        assert_eq!(
            reader.read(&first).unwrap(),
            [
                pair("streamtype", "error"),
                pair("port", "8080"),
                pair("requestid", "0")
            ]
        );
        let second = unhex("c2 aa 19 54 0e 25 12 d6 0b 00 00 00 ff ff");
        assert_eq!(reader.read(&second).unwrap()[0], pair("streamtype", "data"));
        let third = unhex("a2 c4 62 43 00 00 00 00 ff ff");
        assert_eq!(
            reader.read(&third).unwrap(),
            [
                pair("streamtype", "error"),
                pair("port", "8080"),
                pair("requestid", "1")
            ]
        );
    }

    /// A stored deflate block, as a client without zlib writes it.
    #[test]
    fn stored_blocks() {
        let mut reader = HeaderReader::new();
        let first = unhex(
            "78bbe3c6a7c2003b00c4ff000000030000000a73747265616d74797065000000056572726f7200000004706f7274000000023830\
             000000097265717565737469640000000130000000ffff",
        );
        assert_eq!(reader.read(&first).unwrap()[1], pair("port", "80"));
    }

    #[test]
    fn our_own_answers_are_empty_blocks() {
        let mut reader = HeaderReader::new();
        assert_eq!(reader.read(&FIRST_EMPTY_BLOCK), Ok(Vec::new()));
        assert_eq!(reader.read(&EMPTY_BLOCK), Ok(Vec::new()));
        assert_eq!(reader.read(&EMPTY_BLOCK), Ok(Vec::new()));
    }

    proptest::proptest! {
        #[test]
        fn rubbish_is_refused_without_a_panic(block in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = HeaderReader::new().read(&block);
            let _ = parse(&block);
        }
    }
}
