//! HTTP `CONNECT` (RFC 9110, 9.3.6) and SOCKS5 (RFC 1928, 1929).

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::{DialError, Io, Target, Traffic, tls};
use crate::http1::{parse_head, request};

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
        _ => return format!("it answered with error {code}"),
    };
    format!("it answered: {text}")
}

#[cfg(test)]
mod tests;
