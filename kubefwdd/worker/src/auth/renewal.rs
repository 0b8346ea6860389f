//! Assembles credentials from their sources, and decides when to refresh them.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};
use kube::config::AuthInfo;
use kubefwd_model::{Failure, failure};

use super::FRESH;
use super::certificate::Identity;
use super::deadline::{Deadline, Moment};
use super::exec::Plugin;
use super::exec::credential::Credential;
use super::kubeconfig::{Context, Environment};
use super::material::{Loaded, Material};
use super::{finished, headers, tls};
use kubefwd_portforward::api_server::Credentials;

/// Files are read again this often.
const REREAD: SignedDuration = SignedDuration::from_secs(60);
/// A credential is renewed this long before it expires, or at 80 % of its life, whichever is earlier.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// Where the credentials of one context come from.
pub(super) struct Sources {
    context: String,
    user: String,
    plain_http: bool,
    insecure: bool,
    material: Material,
    fixed: HeaderMap,
    plugin: Option<Plugin>,
}

/// Credentials with everything that went into them.
pub(super) struct Cached {
    pub(super) credentials: Credentials,
    /// Until then, a rejection concerns credentials that were only just fetched.
    pub(super) fresh_until: Deadline,
    /// They replaced rejected ones.
    pub(super) after_refusal: bool,
    loaded: Loaded,
    ran: Option<Ran>,
    renew_at: Option<Deadline>,
    expires: Option<Deadline>,
}

/// The output of a plugin, and when to run it again.
#[derive(Clone)]
struct Ran {
    credential: Credential,
    renew_at: Option<Deadline>,
}

impl Cached {
    #[cfg(test)]
    pub(super) fn fetched_earlier(mut self, by: SignedDuration) -> Self {
        self.fresh_until = self.fresh_until.brought_forward(by);
        self
    }

    /// Whether it should be renewed while it still works.
    pub(super) fn needs_refresh(&self, now: Moment) -> bool {
        self.renew_at.is_some_and(|at| at.has_passed(now))
    }

    /// Whether it no longer works.
    pub(super) fn is_expired(&self, now: Moment) -> bool {
        self.expires.is_some_and(|at| at.has_passed(now))
    }
}

impl Sources {
    pub(super) fn new(context: &Context, environment: &Environment) -> Result<Self, Failure> {
        let user = &context.user;
        let material = Material::new(&context.cluster, user)?;
        let fixed = headers::fixed(user, material.has_token())?;
        // As in client-go, a plugin is asked only where no other header would be sent.
        let has_header = material.has_token() || fixed.contains_key(AUTHORIZATION);
        let plugin = match &user.exec {
            Some(config) if !has_header => Some(Plugin::new(
                &context.user_name,
                config,
                &context.cluster,
                environment,
            )?),
            _ => None,
        };
        if !has_header && plugin.is_none() {
            refuse_auth_provider(user, &context.user_name)?;
        }
        let server = context.cluster.server.as_deref().unwrap_or_default();
        Ok(Self {
            context: context.name.clone(),
            user: context.user_name.clone(),
            plain_http: server.starts_with("http://"),
            insecure: context.cluster.insecure_skip_tls_verify.unwrap_or_default(),
            material,
            fixed,
            plugin,
        })
    }

    /// Assembles credentials; `refused` if the API server has just rejected the cached ones.
    pub(super) async fn fetch(
        &self,
        cached: Option<&Cached>,
        refused: bool,
    ) -> Result<Cached, Failure> {
        let usable = cached.filter(|cached| !refused && !cached.is_expired(Moment::now()));
        let loaded = self.load_or_keep(usable).await?;
        let now = Moment::now();
        let ran = match &self.plugin {
            Some(plugin) => Some(self.ask(plugin, cached, refused, now).await?),
            None => None,
        };
        let is_same = |cached: &&Cached| {
            let before = cached.ran.as_ref().map(|ran| &ran.credential);
            cached.loaded == loaded && before == ran.as_ref().map(|ran| &ran.credential)
        };
        let same = cached.filter(is_same);
        if let Some(cached) = same.filter(|_| refused) {
            return Err(self.refused(cached));
        }
        let identity = self.identity(&loaded, ran.as_ref())?;
        let ends = [
            ran.as_ref().and_then(|ran| ran.credential.expires),
            identity.as_ref().and_then(|identity| identity.not_after),
        ];
        let expires = earliest(ends.map(|end| end.map(|end| Deadline::at(end, now))));
        let has_files = self.material.has_files();
        let renew_at = earliest([
            has_files.then(|| Deadline::after(REREAD, now)),
            ran.as_ref().and_then(|ran| ran.renew_at),
        ]);
        let credentials = match same {
            Some(cached) => cached.credentials.clone(),
            None => Credentials {
                generation: cached.map_or(1, |cached| cached.credentials.generation + 1),
                headers: self.headers(&loaded, ran.as_ref())?,
                tls: self.tls(cached, &loaded, ran.as_ref(), identity)?,
            },
        };
        Ok(Cached {
            credentials,
            // An unchanged credential is as old as it was.
            fresh_until: same
                .map_or_else(|| Deadline::after(FRESH, now), |cached| cached.fresh_until),
            after_refusal: same.map_or(refused, |cached| cached.after_refusal),
            loaded,
            ran,
            renew_at,
            expires,
        })
    }

    /// Reads the files, or keeps the usable ones of before: a file may be just being replaced.
    async fn load_or_keep(&self, usable: Option<&Cached>) -> Result<Loaded, Failure> {
        self.load().await.or_else(|failure| {
            let Some(cached) = usable else {
                return Err(failure);
            };
            tracing::warn!(%failure, "cannot read credentials, keeping the earlier ones");
            Ok(cached.loaded.clone())
        })
    }

    /// The failure when the API server rejects the credentials.
    pub(super) fn refused(&self, cached: &Cached) -> Failure {
        let (context, user) = (&self.context, &self.user);
        let Cached { ran, loaded, .. } = cached;
        let kind = match (ran, &loaded.token, &loaded.certificate) {
            (Some(_), ..) => "what the credential plugin printed",
            (None, Some(_), _) => "the token",
            (None, None, Some(_)) => "the client certificate",
            _ if self.fixed.contains_key(AUTHORIZATION) => "the password",
            _ => {
                return failure!(CredentialsNeeded, "the cluster of context {context:?} needs credentials and the kubeconfig has none (401)")
                .hint("add a user to the context, for example by downloading the kubeconfig again");
            }
        };
        failure!(
            CredentialsNeeded,
            "the cluster of context {context:?} refused {kind} of user {user:?} (401)"
        )
        .hint("log in again; it may have expired or been revoked")
    }

    async fn load(&self) -> Result<Loaded, Failure> {
        if !self.material.has_files() {
            return self.material.read();
        }
        let material = self.material.clone();
        let reading = tokio::task::spawn_blocking(move || material.read());
        finished("reading credential files", reading.await)
    }

    async fn ask(
        &self,
        plugin: &Plugin,
        cached: Option<&Cached>,
        refused: bool,
        now: Moment,
    ) -> Result<Ran, Failure> {
        let before = cached.and_then(|cached| cached.ran.as_ref());
        if let Some(ran) = before
            && !refused
            && ran.renew_at.is_none_or(|at| !at.has_passed(now))
        {
            return Ok(ran.clone());
        }
        let mut credential = plugin.run().await?;
        if credential.expires.is_none() {
            let certificate = credential.certificate.as_ref();
            let identity = certificate.and_then(|(pem, key)| Identity::from_pem(pem, key).ok());
            credential.expires = identity.and_then(|identity| identity.not_after);
        }
        let now = Moment::now();
        if let Some(expires) = credential.expires.filter(|expires| *expires <= now.wall) {
            return Err(failure!(
                CredentialsNeeded,
                "the credential plugin of user {:?} printed a credential that expired at {expires}",
                self.user
            )
            .hint("log in again, and check this machine's clock"));
        }
        let renew_at = credential.expires.map(|expires| renewal(now.wall, expires));
        let renew_at = renew_at.map(|at| Deadline::at(at, now));
        Ok(Ran {
            credential,
            renew_at,
        })
    }

    fn identity(&self, loaded: &Loaded, ran: Option<&Ran>) -> Result<Option<Identity>, Failure> {
        let of_plugin = ran.and_then(|ran| ran.credential.certificate.as_ref());
        let Some((certificate, key)) = of_plugin.or(loaded.certificate.as_ref()) else {
            return Ok(None);
        };
        let user = &self.user;
        let identity = Identity::from_pem(certificate, key).map_err(|error| {
            failure!(
                CredentialsNeeded,
                "invalid client certificate or key of user {user:?}: {error}"
            )
            .hint("download the kubeconfig again")
        })?;
        match identity.not_after {
            Some(end) if end <= Timestamp::now() => Err(failure!(
                CredentialsNeeded,
                "the client certificate of user {user:?} expired at {end}"
            )
            .hint("renew it, for example by downloading the kubeconfig again")),
            _ => Ok(Some(identity)),
        }
    }

    fn headers(&self, loaded: &Loaded, ran: Option<&Ran>) -> Result<HeaderMap, Failure> {
        let mut headers = self.fixed.clone();
        let of_plugin = ran.and_then(|ran| ran.credential.token.as_deref());
        if let Some(token) = of_plugin.or(loaded.token.as_deref()) {
            headers.insert(AUTHORIZATION, headers::bearer(token)?);
        }
        Ok(headers)
    }

    /// Keeps the TLS side of the credentials before, with its sessions, unless the trust roots or the certificate changed.
    fn tls(
        &self,
        cached: Option<&Cached>,
        loaded: &Loaded,
        ran: Option<&Ran>,
        identity: Option<Identity>,
    ) -> Result<Option<Arc<rustls::ClientConfig>>, Failure> {
        if self.plain_http {
            return Ok(None);
        }
        let certificate =
            |ran: Option<&Ran>| ran.and_then(|ran| ran.credential.certificate.clone());
        let is_same = |cached: &&Cached| {
            cached.loaded.authority == loaded.authority
                && cached.loaded.certificate == loaded.certificate
                && certificate(cached.ran.as_ref()) == certificate(ran)
        };
        if let Some(cached) = cached.filter(is_same) {
            return Ok(cached.credentials.tls.clone());
        }
        tls::client_config(loaded.authority.as_deref(), self.insecure, identity).map(Some)
    }
}

fn refuse_auth_provider(user: &AuthInfo, name: &str) -> Result<(), Failure> {
    let Some(provider) = &user.auth_provider else {
        return Ok(());
    };
    let instead = match provider.name.as_str() {
        "gcp" => {
            "install gke-gcloud-auth-plugin and run `gcloud container clusters get-credentials`"
        }
        "azure" => "install kubelogin and run `kubelogin convert-kubeconfig`",
        "oidc" => "install kubelogin (kubectl oidc-login) and set it up as an exec plugin",
        _ => "use the exec plugin of its vendor",
    };
    let provider = &provider.name;
    Err(failure!(
        Unsupported,
        "user {name:?} uses auth-provider {provider:?}, which Kubernetes removed in 1.26"
    )
    .hint(instead))
}

fn renewal(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.duration_since(now);
    let early = now + life * 4 / 5;
    let margin = expires - MARGIN;
    // Otherwise what lives barely longer than the margin would be renewed all the time.
    if life > MARGIN * 2 {
        early.min(margin)
    } else {
        early
    }
}

fn earliest<const N: usize>(times: [Option<Deadline>; N]) -> Option<Deadline> {
    times.into_iter().flatten().reduce(Deadline::earlier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_comes_before_the_end() {
        let now = Timestamp::UNIX_EPOCH;
        let at = |seconds| {
            let renewal = renewal(now, now + SignedDuration::from_secs(seconds));
            renewal.duration_since(now).as_secs()
        };
        assert_eq!(at(3600), 2880);
        assert_eq!(at(200), 140);
        assert_eq!(at(60), 48);
        assert_eq!(at(10), 8);
    }
}
