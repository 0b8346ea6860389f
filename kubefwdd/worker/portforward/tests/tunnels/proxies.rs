//! Tunnels through the proxies that a kubeconfig or the environment may name.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use kubefwd_portforward::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{ECHO, Site, cluster, until};

/// Which protocol a proxy speaks.
#[derive(Clone, Copy)]
enum Kind {
    Connect,
    Socks,
}

/// A proxy to 127.0.0.1, and what clients call it.
async fn proxy(kind: Kind) -> String {
    forgetful(kind).await.0
}

/// The same; each value that is sent makes it forget its connections, as a router does that was without power: they are
/// open at both ends, and nothing passes.
async fn forgetful(kind: Kind) -> (String, watch::Sender<()>) {
    let (forget, forgets) = watch::channel(());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut forgets = forgets.clone();
            forgets.mark_unchanged();
            tokio::spawn(async move {
                let port = match kind {
                    Kind::Connect => connect(&mut client).await?,
                    Kind::Socks => socks(&mut client).await?,
                };
                let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
                tokio::select! {
                    copied = copy_bidirectional(&mut client, &mut server) => copied.map(drop),
                    Ok(()) = forgets.changed() => std::future::pending().await,
                }
            });
        }
    });
    let name = match kind {
        Kind::Connect => format!("http://{address}"),
        Kind::Socks => format!("socks5://{address}"),
    };
    (name, forget)
}

/// RFC 9110, 9.3.6. Returns the port that was asked for.
async fn connect(client: &mut TcpStream) -> io::Result<u16> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let line = String::from_utf8_lossy(&head);
    let target = line
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.split(' ').next());
    let port = target.and_then(|target| target.rsplit(':').next()?.parse().ok());
    let port = port.ok_or(io::ErrorKind::InvalidData)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    Ok(port)
}

/// RFC 1928 without authentication. Returns the port that was asked for.
async fn socks(client: &mut TcpStream) -> io::Result<u16> {
    let _version = client.read_u8().await?;
    let methods = client.read_u8().await?;
    client.read_exact(&mut vec![0; methods.into()]).await?;
    client.write_all(&[5, 0]).await?;
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    let length = match request[3] {
        1 => 4,
        4 => 16,
        _ => client.read_u8().await?.into(),
    };
    client.read_exact(&mut vec![0; length]).await?;
    let port = client.read_u16().await?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    Ok(port)
}

#[tokio::test]
async fn tunnels_lead_through_proxies_and_try_websocket_first() {
    for kind in [Kind::Connect, Kind::Socks] {
        let name = proxy(kind).await;
        let site = Site::behind(cluster(), Some(&name), |_| {}).await;
        let mut one = site.good().await;
        let mut other = site.good().await;
        one.echo(b"still here").await;
        other.echo(b"here too").await;
        assert_eq!(
            site.tunnels.transport(),
            Some(Transport::WebSocket),
            "{name}"
        );
        let counts = site.cluster.counts();
        assert_eq!((counts.upgrades_tunnel, counts.upgrades_spdy), (1, 0));
    }
}

#[tokio::test]
async fn a_proxy_that_breaks_costs_only_what_it_carried() {
    let name = proxy(Kind::Connect).await;
    let site = Site::behind(cluster(), Some(&name), |_| {}).await;
    let mut old = site.good().await;
    site.cluster.cut_connections();
    let _ = old.rest().await;
    site.good().await;
    until(|| site.cluster.counts().upgrades_tunnel == 2).await;
}

#[tokio::test]
async fn tunnels_that_died_while_the_machine_slept_are_replaced_when_it_wakes() {
    let (name, forget) = forgetful(Kind::Connect).await;
    let site = Site::behind(cluster(), Some(&name), |settings| {
        // Nothing but the probe finds them in the time of a test.
        settings.ping_busy = Duration::from_secs(3600);
        settings.ping_idle = Duration::from_secs(3600);
    })
    .await;
    let mut answered = site.good().await;
    let mut unused = site.connect(ECHO).await;
    until(|| site.tunnels.connections()[0].streams == 2).await;
    forget.send_replace(());
    site.tunnels.probe_all();
    assert!(answered.rest().await.is_err(), "it ends");
    unused.echo(b"as if nothing had been").await;
    site.good().await;
}
