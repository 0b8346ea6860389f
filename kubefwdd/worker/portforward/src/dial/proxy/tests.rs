//! Proxies that accept and refuse.

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
