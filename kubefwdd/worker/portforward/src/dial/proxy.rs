//! HTTP `CONNECT` (RFC 9110, 9.3.6) and SOCKS5 (RFC 1928, 1929).

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::{DialError, Io, Target, Traffic, tls};
use crate::http1::{MAX_HEAD, parse_head, request};

/// Connects to `target` through `proxy`.
pub(super) async fn connect(
    proxy: &Uri,
    target: &Target,
    traffic: Traffic,
) -> Result<Box<dyn Io>, DialError> {
    let via = Target::of(proxy)?;
    let login = Login::of(proxy);
    let connecting = async {
        let mut io = reach(&via, traffic).await?;
        match proxy.scheme_str() {
            Some("socks5" | "socks5h") => socks5(&mut io, target, login.as_ref()).await?,
            _ => http_connect(&mut io, target, login.as_ref()).await?,
        }
        Ok(io)
    };
    connecting.await.map_err(|source| DialError::Proxy {
        proxy: via.to_string(),
        target: target.to_string(),
        source,
    })
}

/// Connects to the proxy itself.
async fn reach(via: &Target, traffic: Traffic) -> io::Result<Box<dyn Io>> {
    let tcp = via
        .connect_tcp(traffic)
        .await
        .map_err(|error| match error {
            DialError::Connect { source, .. } | DialError::Resolve { source, .. } => source,
            other => io::Error::other(other),
        })?;
    if !via.is_tls {
        return Ok(Box::new(tcp));
    }
    let name = via.server_name(None).map_err(io::Error::other)?;
    let connector = TlsConnector::from(tls::proxy_config()?);
    Ok(Box::new(connector.connect(name, tcp).await?))
}

/// The user information of a proxy URL.
struct Login {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl Login {
    fn of(proxy: &Uri) -> Option<Self> {
        let (login, _) = proxy.authority()?.as_str().rsplit_once('@')?;
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        Some(Self {
            user: percent_decode_str(user).collect(),
            password: percent_decode_str(password).collect(),
        })
    }
}

async fn http_connect(
    io: &mut Box<dyn Io>,
    target: &Target,
    login: Option<&Login>,
) -> io::Result<()> {
    let to = target.to_string();
    let mut headers = vec![("Host", to.as_bytes())];
    let authorization = login.map(|login| {
        let pair = [login.user.as_slice(), b":", &login.password].concat();
        format!("Basic {}", STANDARD.encode(pair))
    });
    if let Some(authorization) = &authorization {
        headers.push(("Proxy-Authorization", authorization.as_bytes()));
    }
    io.write_all(&request("CONNECT", &to, &headers)).await?;
    let mut answer = Vec::new();
    let head = loop {
        if io.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(head) = parse_head(&answer).map_err(io::Error::other)? {
            break head;
        }
        if answer.len() > MAX_HEAD {
            return Err(io::Error::other("the proxy's answer is too long"));
        }
    };
    if !head.status.is_success() {
        return Err(io::Error::other(format!("it answered {}", head.status)));
    }
    if answer.len() > head.length {
        return Err(io::Error::other("it sent data before we did"));
    }
    Ok(())
}

async fn socks5(io: &mut Box<dyn Io>, target: &Target, login: Option<&Login>) -> io::Result<()> {
    const VERSION: u8 = 5;
    const NO_LOGIN: u8 = 0;
    const PASSWORD: u8 = 2;
    let method = if login.is_some() { PASSWORD } else { NO_LOGIN };
    io.write_all(&[VERSION, 1, method]).await?;
    let mut choice = [0; 2];
    io.read_exact(&mut choice).await?;
    if choice != [VERSION, method] {
        return Err(io::Error::other(
            "it is not a SOCKS5 proxy, or does not support this login",
        ));
    }
    if let Some(login) = login {
        let mut message = vec![1];
        push_short(&mut message, &login.user)?;
        push_short(&mut message, &login.password)?;
        io.write_all(&message).await?;
        let mut answer = [0; 2];
        io.read_exact(&mut answer).await?;
        if answer[1] != 0 {
            return Err(io::Error::other("it refused the user name or password"));
        }
    }
    let mut message = vec![VERSION, 1, 0, 3];
    push_short(&mut message, target.host.as_bytes())?;
    message.extend_from_slice(&target.port.to_be_bytes());
    io.write_all(&message).await?;
    let mut answer = [0; 4];
    io.read_exact(&mut answer).await?;
    if answer[1] != 0 {
        return Err(io::Error::other(socks5_error(answer[1])));
    }
    let address = match answer[3] {
        1 => 4,
        4 => 16,
        3 => usize::from(io.read_u8().await?),
        other => {
            return Err(io::Error::other(format!(
                "it sent an address of type {other}"
            )));
        }
    };
    let mut bound = vec![0; address + 2];
    io.read_exact(&mut bound).await?;
    Ok(())
}

fn push_short(message: &mut Vec<u8>, field: &[u8]) -> io::Result<()> {
    let length = u8::try_from(field.len())
        .map_err(|_| io::Error::other("a name or password is longer than 255 bytes"))?;
    message.push(length);
    message.extend_from_slice(field);
    Ok(())
}

fn socks5_error(code: u8) -> String {
    let text = match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "time to live expired",
        _ => return format!("it answered with the error {code}"),
    };
    format!("it answered: {text}")
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    fn target() -> Target {
        Target::of(&"https://api.example:6443".parse().unwrap()).unwrap()
    }

    fn login() -> Option<Login> {
        Login::of(&"http://me:p%40ss@proxy:3128".parse().unwrap())
    }

    #[tokio::test]
    async fn connect_sends_the_login_and_stops_behind_the_head() {
        let (ours, mut theirs) = duplex(4096);
        let mut io: Box<dyn Io> = Box::new(ours);
        let (login, target) = (login(), target());
        let (result, seen) = tokio::join!(http_connect(&mut io, &target, login.as_ref()), async {
            let mut seen = vec![0; 4096];
            let length = theirs.read(&mut seen).await.unwrap();
            theirs
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await
                .unwrap();
            seen.truncate(length);
            String::from_utf8(seen).unwrap()
        });
        result.unwrap();
        assert_eq!(
            seen,
            "CONNECT api.example:6443 HTTP/1.1\r\nHost: api.example:6443\r\n\
             Proxy-Authorization: Basic bWU6cEBzcw==\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn a_refusal_of_the_proxy_is_named() {
        let (ours, mut theirs) = duplex(4096);
        let mut io: Box<dyn Io> = Box::new(ours);
        theirs
            .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            .await
            .unwrap();
        let error = http_connect(&mut io, &target(), None).await.unwrap_err();
        assert!(error.to_string().contains("407"), "{error}");
    }

    #[tokio::test]
    async fn socks5_logs_in_and_leaves_the_name_to_the_proxy() {
        let (ours, mut theirs) = duplex(4096);
        let mut io: Box<dyn Io> = Box::new(ours);
        let (login, target) = (login(), target());
        let (result, ()) = tokio::join!(socks5(&mut io, &target, login.as_ref()), async {
            let mut greeting = [0; 3];
            theirs.read_exact(&mut greeting).await.unwrap();
            assert_eq!(greeting, [5, 1, 2]);
            theirs.write_all(&[5, 2]).await.unwrap();
            let mut password = [0; 9];
            theirs.read_exact(&mut password).await.unwrap();
            assert_eq!(&password, b"\x01\x02me\x04p@ss");
            theirs.write_all(&[1, 0]).await.unwrap();
            let mut connect = [0; 18];
            theirs.read_exact(&mut connect).await.unwrap();
            assert_eq!(&connect, b"\x05\x01\x00\x03\x0bapi.example\x19\x2b");
            theirs
                .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
                .await
                .unwrap();
        });
        result.unwrap();
    }
}
