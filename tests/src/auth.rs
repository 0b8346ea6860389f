//! Who is asking, and what they may do: identities, bearer tokens and RBAC-like rules.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

/// A user name with its groups, as an authenticator would find it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The user's name, e.g. `admin` or `system:serviceaccount:demo:viewer`.
    pub user: String,
    /// The groups the user is in, without `system:authenticated`.
    pub groups: Vec<String>,
}

impl Identity {
    /// The identity of a request without credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            user: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
        }
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.user == "system:anonymous"
    }
}

/// One allow-rule: these verbs on these resources, optionally only in these namespaces.
///
/// Resources are plural names, with the subresource after a slash (`pods/portforward`); `*` stands for all, in verbs
/// and in resources (`*` covers subresources too).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    verbs: Vec<String>,
    resources: Vec<String>,
    namespaces: Option<Vec<String>>,
}

impl Rule {
    /// A rule for these verbs on these resources in every namespace.
    pub fn new<V, R>(
        verbs: impl IntoIterator<Item = V>,
        resources: impl IntoIterator<Item = R>,
    ) -> Self
    where
        V: Into<String>,
        R: Into<String>,
    {
        Self {
            verbs: verbs.into_iter().map(Into::into).collect(),
            resources: resources.into_iter().map(Into::into).collect(),
            namespaces: None,
        }
    }

    /// A rule for everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::new(["*"], ["*"])
    }

    /// Restricts the rule to a namespace; repeated calls add namespaces. Requests over all namespaces no longer match.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespaces
            .get_or_insert_with(Vec::new)
            .push(namespace.into());
        self
    }

    pub(crate) fn matches(&self, verb: &str, resource: &str, namespace: &str) -> bool {
        let any = |list: &[String], wanted: &str| list.iter().any(|x| x == "*" || x == wanted);
        any(&self.verbs, verb)
            && any(&self.resources, resource)
            && self
                .namespaces
                .as_ref()
                .is_none_or(|list| list.iter().any(|n| n == namespace))
    }
}

/// A user of the cluster: a name, groups and what they may do.
#[derive(Debug, Clone)]
pub struct User {
    pub(crate) identity: Identity,
    pub(crate) rules: Vec<Rule>,
}

impl User {
    /// A user without groups and without any right.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            identity: Identity {
                user: name.into(),
                groups: Vec::new(),
            },
            rules: Vec::new(),
        }
    }

    /// Puts the user into a group.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.identity.groups.push(group.into());
        self
    }

    /// Allows something.
    #[must_use]
    pub fn allow(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// `admin`: may do everything.
    #[must_use]
    pub fn admin() -> Self {
        Self::new("admin")
            .group("system:masters")
            .allow(Rule::everything())
    }

    /// `system:serviceaccount:demo:viewer`: reads everything that a forwarder needs, but may not forward.
    #[must_use]
    pub fn viewer() -> Self {
        Self::new("system:serviceaccount:demo:viewer")
            .group("system:serviceaccounts")
            .allow(Rule::new(
                ["get", "list", "watch"],
                [
                    "namespaces",
                    "pods",
                    "pods/log",
                    "services",
                    "endpoints",
                    "endpointslices",
                    "events",
                ],
            ))
    }

    /// `nobody-user`: may do nothing.
    #[must_use]
    pub fn nobody() -> Self {
        Self::new("nobody-user")
    }
}

struct Token {
    identity: Identity,
    expires: Option<SystemTime>,
}

/// The authenticator's tokens and the authorizer's rules; both can change while the cluster runs.
#[derive(Default)]
pub(crate) struct Access {
    tokens: RwLock<HashMap<String, Token>>,
    rules: RwLock<HashMap<String, Vec<Rule>>>,
    denied: RwLock<Vec<(Option<String>, Rule)>>,
}

impl Access {
    pub(crate) fn set_rules(&self, user: &str, rules: Vec<Rule>) {
        let mut all = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(user.to_owned(), rules);
    }

    pub(crate) fn deny(&self, user: Option<String>, rule: Rule) {
        let mut denied = self.denied.write().unwrap_or_else(PoisonError::into_inner);
        denied.push((user, rule));
    }

    pub(crate) fn clear_denials(&self) {
        let mut denied = self.denied.write().unwrap_or_else(PoisonError::into_inner);
        denied.clear();
    }

    pub(crate) fn add_token(&self, token: String, identity: Identity, expires: Option<SystemTime>) {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(token, Token { identity, expires });
    }

    pub(crate) fn revoke_token(&self, token: &str) {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.remove(token);
    }

    /// Whom a bearer token names; `None` when it is unknown or expired.
    pub(crate) fn identify(&self, token: &str) -> Option<Identity> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let found = tokens.get(token)?;
        let valid = found.expires.is_none_or(|end| end > SystemTime::now());
        valid.then(|| found.identity.clone())
    }

    /// Whether the user may do this; `resource` has its subresource after a slash, `namespace` is empty for none or all.
    pub(crate) fn allows(
        &self,
        who: &Identity,
        verb: &str,
        resource: &str,
        namespace: &str,
    ) -> bool {
        let denied = self.denied.read().unwrap_or_else(PoisonError::into_inner);
        let refused = denied.iter().any(|(user, rule)| {
            user.as_ref().is_none_or(|user| *user == who.user)
                && rule.matches(verb, resource, namespace)
        });
        if refused {
            return false;
        }
        let self_review = verb == "create" && resource.starts_with("selfsubject");
        if self_review && !who.is_anonymous() {
            return true;
        }
        let all = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&who.user).is_some_and(|rules| {
            rules
                .iter()
                .any(|rule| rule.matches(verb, resource, namespace))
        })
    }

    /// Verbs and resources of the user's rules that hold in a namespace.
    pub(crate) fn rules_of(
        &self,
        who: &Identity,
        namespace: &str,
    ) -> Vec<(Vec<String>, Vec<String>)> {
        let all = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&who.user)
            .into_iter()
            .flatten()
            .filter(|rule| {
                let list = rule.namespaces.as_ref();
                list.is_none_or(|list| list.iter().any(|n| n == namespace))
            })
            .map(|rule| (rule.verbs.clone(), rule.resources.clone()))
            .collect()
    }

    /// Whether the user may GET a path that is no resource.
    pub(crate) fn allows_path(&self, who: &Identity, path: &str) -> bool {
        let public = ["/version", "/healthz", "/livez", "/readyz"]
            .iter()
            .any(|p| path == *p || path.starts_with(&format!("{p}/")));
        let discovery = path == "/api"
            || path.starts_with("/api/")
            || path == "/apis"
            || path.starts_with("/apis/")
            || path.starts_with("/openapi");
        public || (discovery && !who.is_anonymous()) || self.allows(who, "get", path, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(user: &User) -> Access {
        let access = Access::default();
        access.set_rules(&user.identity.user, user.rules.clone());
        access
    }

    #[test]
    fn a_rule_for_a_resource_does_not_cover_its_subresources() {
        let user = User::new("a").allow(Rule::new(["get"], ["pods"]));
        let access = access(&user);
        assert!(access.allows(&user.identity, "get", "pods", "demo"));
        assert!(!access.allows(&user.identity, "get", "pods/portforward", "demo"));
    }

    #[test]
    fn a_namespaced_rule_does_not_cover_all_namespaces() {
        let user = User::new("a").allow(Rule::everything().in_namespace("demo"));
        let access = access(&user);
        assert!(access.allows(&user.identity, "list", "pods", "demo"));
        assert!(!access.allows(&user.identity, "list", "pods", ""));
        assert!(!access.allows(&user.identity, "list", "pods", "other"));
    }

    #[test]
    fn a_denial_wins_over_a_rule_until_cleared() {
        let user = User::admin();
        let access = access(&user);
        access.deny(
            Some("admin".into()),
            Rule::new(["list"], ["endpointslices"]),
        );
        assert!(!access.allows(&user.identity, "list", "endpointslices", "demo"));
        assert!(access.allows(&user.identity, "watch", "endpointslices", "demo"));
        access.clear_denials();
        assert!(access.allows(&user.identity, "list", "endpointslices", "demo"));
    }

    #[test]
    fn an_expired_token_names_nobody() {
        let access = Access::default();
        let identity = User::admin().identity;
        access.add_token("old".into(), identity.clone(), Some(SystemTime::UNIX_EPOCH));
        access.add_token("new".into(), identity.clone(), None);
        assert_eq!(access.identify("old"), None);
        assert_eq!(access.identify("new"), Some(identity));
    }
}
