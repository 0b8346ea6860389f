//! Who a caller is, by each way of identification.

use http::HeaderValue;

use super::*;
use crate::fake::Fake;

fn parse(identity: &str, token_file: Option<&Path>) -> Result<Identity, IdentityError> {
    Identity::parse(Settings {
        listen: "off",
        identity,
        token_file,
        root: "auto",
    })
}

fn tcp() -> Peer {
    let any = "127.0.0.1:1".parse().unwrap();
    Peer::Tcp {
        peer: any,
        local: any,
        accepted: Some(Uid::new(7)),
    }
}

#[test]
fn every_way_can_be_configured_and_nothing_else() {
    assert!(matches!(
        parse("peer-uid", None),
        Ok(Identity::Peer(RootOverTcp::Auto))
    ));
    assert!(matches!(
        parse("fixed:1000", None),
        Ok(Identity::Fixed(uid)) if uid == Uid::new(1000)
    ));
    assert!(matches!(parse("token", None), Err(IdentityError::NoFile)));
    assert!(matches!(parse("fixed:0", None), Err(IdentityError::Root)));
    for text in ["", "fixed:", "fixed:ann", "root"] {
        assert!(
            matches!(parse(text, None), Err(IdentityError::Unknown(_))),
            "{text}"
        );
    }
}

#[test]
fn a_token_file_is_private_and_well_formed() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# ours\n0123456789abcdef 1000\n").unwrap();
    let read = || parse("token", Some(file.path()));
    std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o644)).unwrap();
    assert!(read().unwrap_err().to_string().contains("chmod 600"));
    std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o600)).unwrap();
    assert!(read().is_ok());
    assert_eq!(Tokens::parse("short 1").unwrap_err(), 1);
    assert_eq!(Tokens::parse("\n0123456789abcdef\n").unwrap_err(), 2);
}

#[tokio::test]
async fn a_token_says_who_and_without_one_nobody_is_let_in() {
    let tokens = Tokens::parse("0123456789abcdef 1000\nfedcba9876543210 1001").unwrap();
    let identity = Identity::Token(Arc::new(tokens));
    let mut headers = HeaderMap::new();
    assert_eq!(
        actor(&Fake::default(), &identity, &tcp(), &headers)
            .await
            .unwrap_err()
            .status,
        401
    );
    for (value, uid) in [
        ("Bearer fedcba9876543210", Some(Uid::new(1001))),
        ("Bearer fedcba987654321", None),
        ("fedcba9876543210", None),
    ] {
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        assert_eq!(
            actor(&Fake::default(), &identity, &tcp(), &headers)
                .await
                .ok()
                .and_then(|a| a.uid()),
            uid
        );
    }
}

#[tokio::test]
async fn a_peer_that_is_gone_is_nobody() {
    let actor = actor(
        &Fake::default(),
        &Identity::Peer(RootOverTcp::Auto),
        &tcp(),
        &HeaderMap::new(),
    )
    .await
    .unwrap();
    assert_eq!(actor.user, None);
}
