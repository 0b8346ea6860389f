//! The resource kinds that the simulated API server stores.

/// A stored kind. The discriminant is its index in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `v1` Namespace
    Namespace,
    /// `v1` Node
    Node,
    /// `v1` Pod
    Pod,
    /// `v1` Service
    Service,
    /// `v1` Endpoints
    Endpoints,
    /// `discovery.k8s.io/v1` EndpointSlice
    EndpointSlice,
    /// `v1` Event
    Event,
}

/// Every stored kind, in the order of the store.
pub(crate) const ALL: [Kind; 7] = [
    Kind::Namespace,
    Kind::Node,
    Kind::Pod,
    Kind::Service,
    Kind::Endpoints,
    Kind::EndpointSlice,
    Kind::Event,
];

impl Kind {
    /// The `kind` of an object.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::Endpoints => "Endpoints",
            Self::EndpointSlice => "EndpointSlice",
            Self::Event => "Event",
        }
    }

    /// The plural used in paths.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::Node => "nodes",
            Self::Pod => "pods",
            Self::Service => "services",
            Self::Endpoints => "endpoints",
            Self::EndpointSlice => "endpointslices",
            Self::Event => "events",
        }
    }

    /// The API group; empty for the core group.
    #[must_use]
    pub fn group(self) -> &'static str {
        match self {
            Self::EndpointSlice => "discovery.k8s.io",
            _ => "",
        }
    }

    /// `group/version`, as in an object's `apiVersion`.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::EndpointSlice => "discovery.k8s.io/v1",
            _ => "v1",
        }
    }

    /// Whether objects of the kind live in a namespace.
    #[must_use]
    pub fn namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::Node)
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn from_path(group: &str, plural: &str) -> Option<Self> {
        ALL.into_iter()
            .find(|kind| kind.group() == group && kind.plural() == plural)
    }

    pub(crate) fn short_names(self) -> &'static [&'static str] {
        match self {
            Self::Namespace => &["ns"],
            Self::Node => &["no"],
            Self::Pod => &["po"],
            Self::Service => &["svc"],
            Self::Endpoints => &["ep"],
            Self::EndpointSlice => &[],
            Self::Event => &["ev"],
        }
    }

    /// Whether `kubectl get all` lists it.
    pub(crate) fn in_category_all(self) -> bool {
        matches!(self, Self::Pod | Self::Service)
    }

    /// What a bookmark of this kind carries beside its metadata (the zero value of the Go type).
    pub(crate) fn bookmark_rest(self) -> &'static str {
        match self {
            Self::Namespace => r#","spec":{},"status":{}"#,
            Self::Node => {
                r#","spec":{},"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":0}},"nodeInfo":{"machineID":"","systemUUID":"","bootID":"","kernelVersion":"","osImage":"","containerRuntimeVersion":"","kubeletVersion":"","kubeProxyVersion":"","operatingSystem":"","architecture":""}}"#
            }
            Self::Pod => r#","spec":{"containers":null},"status":{}"#,
            Self::Service => r#","spec":{},"status":{"loadBalancer":{}}"#,
            Self::Endpoints => "",
            Self::EndpointSlice => r#","addressType":"","endpoints":null,"ports":null"#,
            Self::Event => {
                r#","involvedObject":{},"source":{},"firstTimestamp":null,"lastTimestamp":null,"eventTime":null,"reportingComponent":"","reportingInstance":"""#
            }
        }
    }
}
