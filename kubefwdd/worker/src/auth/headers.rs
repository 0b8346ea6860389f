//! The headers that identify the user: `Authorization`, and `Impersonate-*` for `kubectl --as`.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use kube::config::AuthInfo;
use kubefwd_model::{Failure, failure};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;

/// What may stand in a header name (RFC 9110, `tchar`), without `%`, which escapes the rest.
const TCHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The headers that never change: basic authentication and impersonation.
///
/// # Errors
/// The kubeconfig is contradictory: user name and token at once, groups without a user, control characters.
pub(crate) fn fixed(user: &AuthInfo, has_token: bool) -> Result<HeaderMap, Failure> {
    let mut headers = impersonation(user)?;
    let Some(name) = user.username.as_deref().filter(|name| !name.is_empty()) else {
        return Ok(headers);
    };
    if has_token {
        return Err(failure!(
            KubeconfigInvalid,
            "the kubeconfig user has both a token and a user name with password"
        )
        .hint("keep one of them"));
    }
    let password = user.password.as_ref();
    let password = password.map_or("", |password| password.expose_secret());
    let pair = STANDARD.encode(format!("{name}:{password}"));
    let basic = secret("the user name", &format!("Basic {pair}"))?;
    headers.insert(AUTHORIZATION, basic);
    Ok(headers)
}

/// `Bearer …`.
///
/// # Errors
/// The token cannot be sent in a header.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    secret("the token", &format!("Bearer {token}"))
}

fn impersonation(user: &AuthInfo) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    let groups = user.impersonate_groups.as_deref().unwrap_or_default();
    let extra = user.impersonate_user_extra.iter().flatten();
    let Some(name) = user.impersonate.as_deref().filter(|name| !name.is_empty()) else {
        if groups.is_empty() && user.impersonate_uid.is_none() && extra.count() == 0 {
            return Ok(headers);
        }
        return Err(failure!(
            KubeconfigInvalid,
            "the kubeconfig user has as-groups, as-uid or as-user-extra but no `as`"
        )
        .hint("set `as` to the user to impersonate"));
    };
    headers.insert("impersonate-user", value("as", name)?);
    if let Some(uid) = &user.impersonate_uid {
        headers.insert("impersonate-uid", value("as-uid", uid)?);
    }
    for group in groups {
        headers.append("impersonate-group", value("as-groups", group)?);
    }
    for (key, values) in extra {
        let escaped = utf8_percent_encode(key, TCHAR);
        let name = format!("impersonate-extra-{escaped}").to_ascii_lowercase();
        let name = HeaderName::try_from(name).map_err(|_| unusable("as-user-extra"))?;
        for text in values {
            headers.append(name.clone(), value("as-user-extra", text)?);
        }
    }
    Ok(headers)
}

fn secret(what: &str, text: &str) -> Result<HeaderValue, Failure> {
    let mut value = value(what, text)?;
    value.set_sensitive(true);
    Ok(value)
}

fn value(what: &str, text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| unusable(what))
}

fn unusable(what: &str) -> Failure {
    failure!(
        CredentialsNeeded,
        "{what} contains characters that cannot be sent in a header"
    )
    .hint("log in again, or correct the kubeconfig")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use secrecy::SecretString;

    use kubefwd_model::Reason;

    use super::*;

    #[test]
    fn impersonation_is_sent_as_kubectl_sends_it() {
        let user = AuthInfo {
            impersonate: Some("jane".to_owned()),
            impersonate_uid: Some("06f6".to_owned()),
            impersonate_groups: Some(vec!["dev".to_owned(), "ops".to_owned()]),
            impersonate_user_extra: Some(HashMap::from([(
                "acme.com/Project%".to_owned(),
                vec!["a".to_owned()],
            )])),
            ..AuthInfo::default()
        };
        let headers = fixed(&user, true).unwrap();
        assert_eq!(headers["impersonate-user"], "jane");
        assert_eq!(headers["impersonate-uid"], "06f6");
        let groups: Vec<_> = headers.get_all("impersonate-group").iter().collect();
        assert_eq!(groups, ["dev", "ops"]);
        assert_eq!(headers["impersonate-extra-acme.com%2fproject%25"], "a");
    }

    #[test]
    fn basic_authentication_is_a_sensitive_header() {
        let user = AuthInfo {
            username: Some("aladdin".to_owned()),
            password: Some(SecretString::from("open sesame")),
            ..AuthInfo::default()
        };
        let headers = fixed(&user, false).unwrap();
        assert_eq!(headers[AUTHORIZATION], "Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(headers[AUTHORIZATION].is_sensitive());
        assert_eq!(
            fixed(&user, true).unwrap_err().reason,
            Reason::KubeconfigInvalid
        );
    }

    #[test]
    fn groups_of_nobody_and_line_breaks_are_refused() {
        let user = AuthInfo {
            impersonate_groups: Some(vec!["dev".to_owned()]),
            ..AuthInfo::default()
        };
        assert!(fixed(&user, false).is_err());
        assert!(bearer("a\r\nX: y").is_err());
    }
}
