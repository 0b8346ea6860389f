//! HTTP/1.1 as any client speaks it, over TCP or a unix socket, with every header in the test's own hand.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::Value;

use super::PATIENCE;

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum Place {
    /// A name or address and a port; the name goes into the header Host.
    Tcp(String, u16),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// A request that has not been sent.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// An answer as a whole.
#[derive(Debug, Clone)]
pub struct Reply {
    /// What was asked, for messages.
    pub asked: String,
    /// The status.
    pub status: u16,
    /// The headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// An answer that is read line by line as it comes.
#[derive(Debug)]
pub struct Lines {
    /// The answer up to its body.
    pub head: Reply,
    body: BufReader<Body>,
}

/// A connection to a server.
#[derive(Debug)]
pub enum Connection {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

/// The body of an answer.
#[derive(Debug)]
enum Body {
    Sized(io::Take<BufReader<Connection>>),
    Chunked {
        source: BufReader<Connection>,
        /// What is left of the present chunk.
        left: usize,
    },
}

impl Place {
    /// Connects. Reads and writes give up after [`PATIENCE`].
    ///
    /// # Errors
    /// When nobody accepts.
    pub fn connect(&self) -> io::Result<Connection> {
        match self {
            Self::Tcp(host, port) => Ok(Connection::Tcp(super::net::try_connect(host, *port)?)),
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Connection::Unix(stream))
            }
        }
    }

    fn host(&self) -> String {
        match self {
            Self::Tcp(host, 80) => host.clone(),
            Self::Tcp(host, port) => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header. A header Host of the test's own takes the place of the usual one.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .body(body.to_string())
    }

    /// A body of whatever kind.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The bytes of the request, for who wants to send them in another way.
    #[must_use]
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let has = |name: &str| {
            self.headers
                .iter()
                .any(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        if !has("host") {
            head.push_str(&format!("Host: {host}\r\n"));
        }
        let has_length = has("content-length") || has("transfer-encoding");
        if !self.body.is_empty() && !has_length {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        [head.into_bytes(), self.body.clone()].concat()
    }

    /// Sends it on a connection of its own and reads the answer.
    ///
    /// # Panics
    /// When the connection fails or no whole answer comes.
    #[must_use]
    pub fn send(&self, place: &Place) -> Reply {
        self.try_send(place)
            .unwrap_or_else(|error| panic!("{} at {place:?}: {error}", self.asked()))
    }

    /// The same where a failure is expected.
    ///
    /// # Errors
    /// When the connection fails or no whole answer comes.
    pub fn try_send(&self, place: &Place) -> io::Result<Reply> {
        let Lines { mut head, mut body } = self.try_open(place)?;
        body.read_to_string(&mut head.body)?;
        Ok(head)
    }

    /// Sends it and reads the answer up to its body.
    ///
    /// # Panics
    /// When the connection fails.
    #[must_use]
    pub fn open(&self, place: &Place) -> Lines {
        self.try_open(place)
            .unwrap_or_else(|error| panic!("{} at {place:?}: {error}", self.asked()))
    }

    fn try_open(&self, place: &Place) -> io::Result<Lines> {
        let mut connection = place.connect()?;
        match connection.write_all(&self.bytes(&place.host())) {
            // The server answered and closed before it had the request: its answer says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
        read(connection, self.asked(), self.method == "HEAD")
    }

    fn asked(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Reads one answer from a connection, up to its body.
///
/// # Errors
/// When none comes.
pub fn read(connection: Connection, asked: String, is_head: bool) -> io::Result<Lines> {
    let mut source = BufReader::new(connection);
    let mut line = String::new();
    source.read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status line: {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        source.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let head = Reply {
        asked,
        status,
        headers,
        body: String::new(),
    };
    let length = match head.header("content-length") {
        Some(length) if !is_head => length.parse().map_err(io::Error::other)?,
        _ => 0,
    };
    let body = match head.header("transfer-encoding") {
        Some(_) if !is_head => Body::Chunked { source, left: 0 },
        _ => Body::Sized(source.take(length)),
    };
    Ok(Lines {
        head,
        body: BufReader::new(body),
    })
}

impl Iterator for Lines {
    type Item = String;

    /// The next line without its end; `None` when the answer is over.
    ///
    /// # Panics
    /// When the connection fails, or nothing comes within [`PATIENCE`].
    fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.body.read_line(&mut line);
        let read = read.unwrap_or_else(|error| panic!("{} breaks off: {error}", self.head.asked));
        (read > 0).then(|| line.trim_end_matches('\n').to_owned())
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Sized(source) => source.read(buffer),
            Self::Chunked { source, left } => {
                if *left == 0 {
                    let mut line = String::new();
                    source.read_line(&mut line)?;
                    *left = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
                }
                let wanted = buffer.len().min(*left);
                let read = source.read(&mut buffer[..wanted])?;
                *left -= read;
                if *left == 0 {
                    // The line end after a chunk; after the last one, which is empty, that of the trailers.
                    source.read_line(&mut String::new())?;
                }
                Ok(read)
            }
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Reply {
    /// The first header of a name, in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} was answered with {}: {}",
            self.asked, self.status, self.body
        )
    }
}
