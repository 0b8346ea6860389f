//! Adding: the request is checked here, then with the caller's own worker against the cluster, then wished.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use kubefwd_core::addresses::{Reservation, Target};
use kubefwd_core::policy::{Actor, Verb};
use kubefwd_core::requests::{ClusterAccess, NamespaceRequest, ServiceRequest};
use kubefwd_core::state::{AddNamespace, AddService, Command, Environment, Lease, Origin};
use kubefwd_model::{
    ContextName, Failure, HostName, NameError, NamespaceKey, NamespaceName, Selection, ServiceKey,
    ServiceName, Uid, failure,
};
use kubefwd_proto::environment;
use kubefwd_proto::worker::v1::{self as wire, answer::Answer as Content, query::Question};

use super::ask::OFFLINE;
use super::{Control, acting_for};
use crate::workers::Deadline;

/// A credential plugin may take a minute, and the cluster some seconds.
const CHECK: Duration = Duration::from_secs(75);

impl Control {
    /// Forwards a namespace from now on. Gives its key and the revision that has it.
    ///
    /// # Errors
    /// When the caller may not, the request is wrong, the cluster says no, or it is forwarded already.
    pub(crate) async fn add_namespace(
        &self,
        actor: &Actor,
        request: NamespaceRequest,
    ) -> Result<NamespaceKey, Failure> {
        let uid = acting_for(actor, Verb::Change, None)?;
        check_selection(&request.selection)?;
        let question = wire::CheckQuery {
            namespace: request.namespace,
            offline: request.defer,
            selection: Some(request.selection.clone().into()),
            ..Default::default()
        };
        let (key, kubeconfig) = self.check(uid, &request.access, question).await?;
        let add = AddNamespace {
            key: key.clone(),
            selection: request.selection,
            options: request.options,
            origin: origin(actor, kubeconfig, request.lease, request.access.environment),
        };
        self.change(Command::AddNamespace(add)).await?;
        Ok(key)
    }

    /// Forwards one service from now on.
    ///
    /// # Errors
    /// As [`Control::add_namespace`]; also when its address cannot be had.
    pub(crate) async fn add_service(
        &self,
        actor: &Actor,
        request: ServiceRequest,
    ) -> Result<ServiceKey, Failure> {
        let uid = acting_for(actor, Verb::Change, None)?;
        let name = ServiceName::parse(&request.service).map_err(bad_name)?;
        let question = wire::CheckQuery {
            namespace: request.namespace,
            service: request.service,
            offline: request.defer,
            ..Default::default()
        };
        let (namespace, kubeconfig) = self.check(uid, &request.access, question).await?;
        let key = namespace.service(name);
        let add = AddService {
            key: key.clone(),
            ports: request.ports,
            address: request.address,
            options: request.options,
            origin: origin(actor, kubeconfig, request.lease, request.access.environment),
        };
        self.change(Command::AddService(add)).await?;
        Ok(key)
    }

    /// Keeps an address of the caller's for what has this key or name.
    ///
    /// # Errors
    /// When the caller may not, the key is no name, or the address cannot be had.
    pub(crate) async fn reserve(
        &self,
        actor: &Actor,
        key: &str,
        address: Ipv4Addr,
    ) -> Result<(), Failure> {
        let uid = acting_for(actor, Verb::Change, None)?;
        let reservation = Reservation {
            owner: Some(uid),
            target: target(uid, key)?,
            address,
        };
        self.change(Command::Reserve(reservation)).await.map(drop)
    }

    /// Gives up what the caller reserved for this key, name or address.
    ///
    /// # Errors
    /// When the caller may not, or there is none.
    pub(crate) async fn unreserve(&self, actor: &Actor, what: &str) -> Result<(), Failure> {
        let uid = acting_for(actor, Verb::Change, None)?;
        let by_address = match what.parse::<Ipv4Addr>() {
            Ok(address) => self
                .reservations(actor)?
                .into_iter()
                .find(|r| r.address == address && r.owner == Some(uid))
                .map(|r| r.target),
            Err(_) => None,
        };
        let target = match by_address {
            Some(target) => target,
            None => target(uid, what)?,
        };
        let unreserve = Command::Unreserve { uid, target };
        self.change(unreserve).await.map(drop)
    }

    /// Asks the caller's worker whether this can be forwarded, before anything is wished. Gives the namespace, and the files
    /// that define its context.
    async fn check(
        &self,
        uid: Uid,
        access: &ClusterAccess,
        question: wire::CheckQuery,
    ) -> Result<(NamespaceKey, Vec<String>), Failure> {
        let (namespace, defer) = (question.namespace.clone(), question.offline);
        if !namespace.is_empty() {
            NamespaceName::parse(&namespace).map_err(bad_name)?;
        }
        if !access.context.is_empty() {
            ContextName::parse(&access.context).map_err(bad_name)?;
        }
        if let Some(path) = access.kubeconfig.iter().find(|path| !path.starts_with('/')) {
            return Err(failure!(
                InvalidArgument,
                "kubeconfig {path:?} is not an absolute path"
            ));
        }
        let question = Question::Check(question);
        let answers = self.ask_worker(uid, access, question).await?;
        let answer = match defer {
            true => answers.one(Deadline::Kubeconfig(OFFLINE)).await?,
            false => answers.one(Deadline::Cluster(CHECK)).await?,
        };
        let Content::Check(check) = answer else {
            return Err(failure!(Internal, "unexpected answer from the worker"));
        };
        if !check.missing_rights.is_empty() && !defer {
            let rights = check.missing_rights.join(", ");
            let context = check.context;
            return Err(failure!(
                ForbiddenByCluster,
                "context {context} lacks permissions that forwarding needs: {rights}"
            )
            .hint("ask the cluster's administrator for a role that grants them"));
        }
        let namespace = match namespace.is_empty() {
            true => check.namespace,
            false => namespace,
        };
        let key = NamespaceKey {
            uid,
            context: ContextName::parse(&check.context).map_err(bad_name)?,
            namespace: NamespaceName::parse(&namespace).map_err(bad_name)?,
        };
        Ok((key, kubeconfig(check.kubeconfig)?))
    }
}

/// The files that a worker named: bounded, since they are kept, and absolute, since it is given them again.
fn kubeconfig(files: Vec<String>) -> Result<Vec<String>, Failure> {
    const MOST: usize = 16;
    const LONGEST: usize = 4096;
    let fits = |path: &String| path.starts_with('/') && path.len() <= LONGEST;
    if files.len() > MOST || !files.iter().all(fits) {
        return Err(failure!(
            Internal,
            "the worker reported invalid kubeconfig paths"
        ));
    }
    Ok(files)
}

fn origin(
    actor: &Actor,
    kubeconfig: Vec<String>,
    lease: Option<Lease>,
    environment: Option<BTreeMap<String, String>>,
) -> Origin {
    let name = actor.user.as_ref().and_then(|user| user.name.clone());
    Origin {
        user: name.unwrap_or_default(),
        kubeconfig,
        lease,
        environment: persistent(environment),
    }
}

fn persistent(environment: Option<BTreeMap<String, String>>) -> Option<Environment> {
    let all = environment::filter(environment?);
    let (variables, mut secrets): (BTreeMap<_, _>, BTreeMap<_, _>) = all
        .into_iter()
        .partition(|(name, value)| environment::is_persistent(name, value));
    secrets.retain(|name, _| !environment::is_of_session(name));
    Some(Environment {
        variables,
        secrets: secrets.into_keys().collect(),
    })
}

/// What is asked for is kept, and written with every change.
fn check_selection(selection: &Selection) -> Result<(), Failure> {
    const LONGEST: usize = 16 * 1024;
    let globs = selection.include.iter().chain(&selection.exclude);
    let texts = globs.chain([&selection.label_selector, &selection.field_selector]);
    if texts.clone().map(String::len).sum::<usize>() > LONGEST {
        return Err(failure!(
            InvalidArgument,
            "selectors and globs are longer than {LONGEST} bytes together"
        ));
    }
    if texts.clone().any(|text| text.chars().any(char::is_control)) {
        return Err(failure!(
            InvalidArgument,
            "a selector or glob contains control characters"
        ));
    }
    Ok(())
}

/// A name in any form it can be reached by; else a whole key.
fn target(uid: Uid, key: &str) -> Result<Target, Failure> {
    if let Ok(name) = HostName::parse(key) {
        return Ok(Target::Name(name));
    }
    let mut parts = key.splitn(3, '.');
    let (Some(service), Some(namespace), Some(context)) =
        (parts.next(), parts.next(), parts.next())
    else {
        return Err(failure!(
            InvalidArgument,
            "{key:?} is neither a name nor service.namespace.context"
        ));
    };
    let key = ServiceKey {
        uid,
        context: ContextName::parse(context).map_err(bad_name)?,
        namespace: NamespaceName::parse(namespace).map_err(bad_name)?,
        service: ServiceName::parse(service).map_err(bad_name)?,
    };
    Ok(Target::Unit(key.unit(None)))
}

fn bad_name(error: NameError) -> Failure {
    failure!(InvalidArgument, "{error}")
}
