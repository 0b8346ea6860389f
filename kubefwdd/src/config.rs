//! The configuration file: TOML, every key optional, an unknown key is an error that names the nearest known one.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kubefwd_core::addresses::{AddressRange, RangeError, Reservation, Target};
use kubefwd_core::policy::Access;
use kubefwd_model::HostName;
use serde::Deserialize;

/// Every key there is, as `table.key`. The sample file documents them all; a test compares the two.
pub const KEYS: &[&str] = &[
    "socket",
    "state_dir",
    "hosts_file",
    "worker",
    "log",
    "rest.listen",
    "rest.socket",
    "rest.identity",
    "rest.token_file",
    "rest.root",
    "names.dashed",
    "names.domains",
    "names.allow_suffixes",
    "addresses.range",
    "addresses.reserve",
    "forwarding.no_backend_wait",
    "forwarding.half_close_grace",
    "forwarding.access",
    "http.capture",
    "http.keep_queries",
    "limits.services_per_user",
];

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where kubefwdctl reaches the daemon.
    pub socket: Option<PathBuf>,
    /// Where the state is kept.
    pub state_dir: Option<PathBuf>,
    /// The hosts file.
    pub hosts_file: Option<PathBuf>,
    /// The worker's program.
    pub worker: Option<PathBuf>,
    /// What is logged, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log: Option<String>,
    /// REST.
    pub rest: Rest,
    /// Names.
    pub names: Names,
    /// Addresses.
    pub addresses: Addresses,
    /// Connections.
    pub forwarding: Forwarding,
    /// HTTP requests in forwarded bytes.
    pub http: Http,
    /// Limits.
    pub limits: Limits,
}

/// `[rest]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rest {
    /// `address:port`, or `off`.
    pub listen: String,
    /// The unix socket that serves REST too.
    pub socket: Option<PathBuf>,
    /// `peer-uid`, `fixed:UID` or `token`.
    pub identity: String,
    /// With `token`: the file of lines `token uid`.
    pub token_file: Option<PathBuf>,
    /// With `peer-uid`, who uid 0 is: `auto`, `member` or `never`.
    pub root: String,
}

/// `[names]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Names {
    /// Also write each name with `-` for every dot.
    pub dashed: bool,
    /// Domains below which users may have names (`--domain`).
    pub domains: Vec<String>,
    /// Suffixes that are allowed although they are top-level domains.
    pub allow_suffixes: Vec<String>,
}

/// `[addresses]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Addresses {
    /// `address/prefix`
    pub range: String,
    /// Addresses by name.
    pub reserve: std::collections::BTreeMap<String, std::net::Ipv4Addr>,
}

/// `[forwarding]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Forwarding {
    /// How long a connection waits for a ready pod, seconds.
    pub no_backend_wait: Option<f64>,
    /// How long the end of the client's input is held back while answers flow, seconds.
    pub half_close_grace: Option<f64>,
    /// `auto`, `owner` or `everyone`.
    pub access: Option<String>,
}

/// `[http]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Record the HTTP requests that are seen in forwarded bytes, of every service that nobody said otherwise of. It costs
    /// several percent of the worker's time where requests are small, so it has to be asked for.
    pub capture: bool,
    /// Keep the queries of recorded requests.
    pub keep_queries: bool,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The most services that one user's worker may report.
    pub services_per_user: usize,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {0}: {1}")]
    Read(PathBuf, io::Error),
    /// It is not TOML, or a value has the wrong type.
    #[error("the configuration {0} is invalid: {1}")]
    Syntax(PathBuf, Box<toml::de::Error>),
    /// A key that does not exist.
    #[error("the configuration {} has an unknown key {key:?}; did you mean {nearest:?}?", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The known key that is most like it.
        nearest: &'static str,
    },
    /// A value that cannot be meant.
    #[error("invalid configuration value {key} = {value:?}: {why}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// Why.
        why: String,
    },
}

// === impl Config ===

impl Config {
    /// Reads a configuration. A file that is not there is an empty one, unless it was asked for.
    ///
    /// # Errors
    /// When it cannot be read or used; the text says what to change.
    pub fn read(path: &Path, asked_for: bool) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !asked_for => String::new(),
            Err(error) => return Err(ConfigError::Read(path.to_owned(), error)),
        };
        Self::parse(path, &text)
    }

    /// Reads the text of a configuration; `path` is for messages.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let syntax = |error| ConfigError::Syntax(path.to_owned(), Box::new(error));
        let table: toml::Table = toml::from_str(text).map_err(syntax)?;
        if let Some(key) = unknown_key(&table) {
            let nearest = nearest(&key);
            return Err(ConfigError::UnknownKey {
                path: path.to_owned(),
                key,
                nearest,
            });
        }
        let config: Self = toml::from_str(text).map_err(syntax)?;
        config.range()?;
        config.allowed_suffixes()?;
        config.reservations()?;
        config.no_backend_wait()?;
        config.half_close_grace()?;
        config.access()?;
        Ok(config)
    }

    /// Where addresses come from.
    ///
    /// # Errors
    /// When the value is not a usable range.
    pub fn range(&self) -> Result<AddressRange, ConfigError> {
        let value = &self.addresses.range;
        let range = value.parse();
        range.map_err(|error: RangeError| bad_value("addresses.range", value, error))
    }

    /// Domains below which users may have names.
    ///
    /// # Errors
    /// When one is not a name.
    pub fn domains(&self) -> Result<Vec<HostName>, ConfigError> {
        let domains = self.names.domains.iter();
        domains
            .map(|value| suffix("names.domains", value))
            .collect()
    }

    /// Suffixes that are allowed although they are top-level domains.
    ///
    /// # Errors
    /// When one is not a name.
    pub fn allowed_suffixes(&self) -> Result<std::collections::BTreeSet<HostName>, ConfigError> {
        let suffixes = self.names.allow_suffixes.iter();
        suffixes
            .map(|value| suffix("names.allow_suffixes", value))
            .collect()
    }

    /// Addresses that are set aside for names.
    ///
    /// # Errors
    /// When one is not a name.
    pub fn reservations(&self) -> Result<Vec<Reservation>, ConfigError> {
        let parse = |(name, address): (&String, &std::net::Ipv4Addr)| {
            let target = HostName::parse(name)
                .map(Target::Name)
                .map_err(|error| bad_value("addresses.reserve", name, error))?;
            Ok(Reservation {
                owner: None,
                target,
                address: *address,
            })
        };
        self.addresses.reserve.iter().map(parse).collect()
    }

    /// How long a connection waits for a ready pod.
    ///
    /// # Errors
    /// When the value is not between 0 and an hour.
    pub fn no_backend_wait(&self) -> Result<Option<Duration>, ConfigError> {
        seconds(
            "forwarding.no_backend_wait",
            self.forwarding.no_backend_wait,
        )
    }

    /// Who may connect to forwarded ports.
    ///
    /// # Errors
    /// When it is not one of the three.
    pub fn access(&self) -> Result<Access, ConfigError> {
        let Some(value) = &self.forwarding.access else {
            return Ok(Access::default());
        };
        let why = match value.as_str() {
            "auto" => return Ok(Access::Auto),
            "everyone" => return Ok(Access::Everyone),
            // The worker cannot find out there whose connection it is.
            "owner" if cfg!(target_os = "macos") => "it is not available on macOS yet",
            "owner" => return Ok(Access::Owner),
            _ => "it must be \"auto\", \"owner\" or \"everyone\"",
        };
        Err(bad_value("forwarding.access", value, why))
    }

    /// How long the end of the client's input is held back.
    ///
    /// # Errors
    /// When the value is not between 0 and an hour.
    pub fn half_close_grace(&self) -> Result<Option<Duration>, ConfigError> {
        seconds(
            "forwarding.half_close_grace",
            self.forwarding.half_close_grace,
        )
    }
}

impl Default for Rest {
    fn default() -> Self {
        let (listen, identity) = ("127.2.27.1:80".to_owned(), "peer-uid".to_owned());
        Self {
            listen,
            socket: None,
            identity,
            token_file: None,
            root: "auto".to_owned(),
        }
    }
}

impl Default for Names {
    fn default() -> Self {
        Self {
            dashed: false,
            // Reserved for what its name says, RFC 6761.
            domains: vec!["test".to_owned()],
            allow_suffixes: Vec::new(),
        }
    }
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            range: "127.0.0.0/8".to_owned(),
            reserve: Default::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services_per_user: 20_000,
        }
    }
}

fn suffix(key: &'static str, value: &str) -> Result<HostName, ConfigError> {
    HostName::parse(value.trim_start_matches('.')).map_err(|error| bad_value(key, value, error))
}

fn seconds(key: &'static str, value: Option<f64>) -> Result<Option<Duration>, ConfigError> {
    let Some(value) = value else { return Ok(None) };
    if (0.0..=3600.0).contains(&value) {
        return Ok(Some(Duration::from_secs_f64(value)));
    }
    let why = "it must be between 0 and 3600 seconds";
    Err(bad_value(key, value, why))
}

fn bad_value(key: &'static str, value: impl ToString, why: impl ToString) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.to_string(),
        why: why.to_string(),
    }
}

fn unknown_key(table: &toml::Table) -> Option<String> {
    table.iter().find_map(|(name, value)| match value {
        toml::Value::Table(inner)
            if KEYS.iter().any(|key| key.starts_with(&format!("{name}."))) =>
        {
            let keys = inner.keys().map(|key| format!("{name}.{key}"));
            keys.into_iter().find(|key| !KEYS.contains(&key.as_str()))
        }
        _ => (!KEYS.contains(&name.as_str())).then(|| name.clone()),
    })
}

fn nearest(key: &str) -> &'static str {
    // Jaro-Winkler forgives a missing end: `hosts` is most like `hosts_file`.
    let likeness = |known: &str| {
        let last = known.rsplit('.').next().unwrap_or(known);
        strsim::jaro_winkler(key, known).max(strsim::jaro_winkler(key, last) - 0.01)
    };
    let best = KEYS
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    best.copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("kubefwdd.toml"), text)
    }

    #[test]
    fn nothing_is_needed() {
        let config = parse("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.rest.listen, "127.2.27.1:80");
        assert!(!config.http.capture && !config.http.keep_queries);
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        for (text, key, nearest) in [
            ("sokcet = \"/x\"", "sokcet", "socket"),
            (
                "[names]\nallow_sufixes = []",
                "names.allow_sufixes",
                "names.allow_suffixes",
            ),
            ("[rset]\nlisten = \"off\"", "rset", "rest.listen"),
            ("hosts = \"/x\"", "hosts", "hosts_file"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{key:?}")), "{error}");
            if key != "rset" {
                assert!(error.contains(&format!("{nearest:?}")), "{error}");
            }
        }
    }

    #[test]
    fn values_are_checked_at_once() {
        for (text, wanted) in [
            ("[addresses]\nrange = \"127.0.0.0\"", "127.0.0.0/8"),
            ("[addresses]\nrange = \"nonsense/8\"", "nonsense"),
            ("[names]\nallow_suffixes = [\"a b\"]", "a b"),
            ("[addresses.reserve]\n\"a b\" = \"127.9.9.9\"", "a b"),
            ("[forwarding]\nno_backend_wait = -1", "between 0 and 3600"),
            ("[forwarding]\naccess = \"nobody\"", "\"everyone\""),
            (
                "[limits]\nservices_per_user = \"many\"",
                "services_per_user",
            ),
            ("[http]\ncapture = \"on\"", "capture"),
            ("socket = ", "line 1"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn every_known_key_is_a_field() {
        for key in KEYS {
            let (table, name) = key.split_once('.').unwrap_or(("", key));
            let line = if table.is_empty() {
                format!("{name} = 1")
            } else {
                format!("[{table}]\n{name} = 1")
            };
            // A wrong type is fine, an unknown field is not.
            if let Err(error) = parse(&line) {
                assert!(
                    !error.to_string().contains("unknown field"),
                    "{key}: {error}"
                );
            }
        }
    }
}
