//! Files that change.

use secrecy::SecretString;

use super::*;

fn user() -> AuthInfo {
    AuthInfo::default()
}

#[test]
fn data_wins_over_a_file_and_a_token_file_over_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "from file\n").unwrap();
    let cluster = Cluster {
        certificate_authority: Some("/does/not/exist".to_owned()),
        certificate_authority_data: Some(STANDARD.encode("roots")),
        ..Cluster::default()
    };
    let user = AuthInfo {
        token: Some(SecretString::from("inline")),
        token_file: Some(path.display().to_string()),
        ..user()
    };
    let material = Material::new(&cluster, &user).unwrap();
    let loaded = material.read().unwrap();
    assert_eq!(loaded.authority.as_deref(), Some(&b"roots"[..]));
    assert_eq!(loaded.token.as_deref(), Some("from file"));
    assert!(material.has_files());

    std::fs::write(&path, "rotated").unwrap();
    assert_eq!(material.read().unwrap().token.as_deref(), Some("rotated"));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(material.read().unwrap().token.as_deref(), Some("inline"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let user = AuthInfo {
        token_file: Some("/does/not/exist".to_owned()),
        ..user()
    };
    let material = Material::new(&Cluster::default(), &user).unwrap();
    let failure = material.read().unwrap_err();
    assert_eq!(failure.reason, Reason::CredentialsNeeded);
    assert!(
        failure.message.contains("the token file /does/not/exist"),
        "{failure}"
    );
    assert!(failure.message.contains("No such file"), "{failure}");
}

#[test]
fn half_an_identity_and_broken_base64_are_refused() {
    let user = AuthInfo {
        client_certificate: Some("/cert".to_owned()),
        ..user()
    };
    let failure = Material::new(&Cluster::default(), &user).err().unwrap();
    assert!(failure.message.contains("no client-key"), "{failure}");

    let cluster = Cluster {
        certificate_authority_data: Some("***".to_owned()),
        ..Cluster::default()
    };
    let failure = Material::new(&cluster, &AuthInfo::default()).err().unwrap();
    assert_eq!(failure.reason, Reason::KubeconfigInvalid);
    assert!(
        failure.message.contains("certificate-authority-data"),
        "{failure}"
    );
}
