//! Events of a namespace, newest first.

use std::cmp::Reverse;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::ListParams;
use kubefwd_model::discovery;
use kubefwd_model::text::Text;
use kubefwd_proto::worker::v1::ListEventsQuery;

use super::lists::{Pages, number};
use super::pod::time;
use super::sender::{AnswerSender, Stop};
use super::{log_in, valid_name};
use crate::cluster::Cluster;

/// Kept while pages come in, whatever the requested limit.
const MAX_EVENTS: usize = 5000;
const DEFAULT_EVENTS: usize = 500;

pub(super) async fn events(
    cluster: &Cluster,
    question: ListEventsQuery,
    answers: &AnswerSender,
) -> Result<(), Stop> {
    valid_name("namespace", &question.namespace)?;
    log_in(cluster).await?;
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), &question.namespace);
    let mut pages = Pages::new(api, params(&question)?);
    let limit = match question.limit {
        0 => DEFAULT_EVENTS,
        limit => usize::try_from(limit).unwrap_or(MAX_EVENTS).min(MAX_EVENTS),
    };
    let mut newest = Vec::new();
    while let Some((events, _)) = pages.next().await? {
        keep_newest(&mut newest, events, limit);
    }
    let events = newest.into_iter();
    let events = events.map(|(seen, event)| convert(event, seen));
    answers.send_list(events, true).await
}

/// Adds a page and keeps the newest, so that a namespace with very many events costs no more than what is asked for.
fn keep_newest(newest: &mut Vec<(Option<Timestamp>, Event)>, page: Vec<Event>, limit: usize) {
    newest.extend(page.into_iter().map(|event| (last_seen(&event), event)));
    newest.sort_by_key(|(seen, _)| Reverse(*seen));
    newest.truncate(limit);
}

fn params(question: &ListEventsQuery) -> Result<ListParams, Stop> {
    let mut fields = Vec::new();
    if !question.kind.is_empty() {
        // Kinds have capitals where names have none; otherwise the same characters.
        valid_name("kind", &question.kind.to_ascii_lowercase())?;
        fields.push(format!("involvedObject.kind={}", question.kind));
    }
    if !question.name.is_empty() {
        valid_name("object", &question.name)?;
        fields.push(format!("involvedObject.name={}", question.name));
    }
    Ok(ListParams {
        field_selector: Some(fields.join(",")).filter(|fields| !fields.is_empty()),
        ..ListParams::default()
    })
}

/// When it last happened: each generation of the events API keeps that elsewhere.
fn last_seen(event: &Event) -> Option<Timestamp> {
    let of = |time: &Option<Time>| time.as_ref().map(|time| time.0);
    let series = event.series.as_ref();
    let observed = series.and_then(|series| series.last_observed_time.as_ref());
    let observed = observed.map(|time| time.0);
    observed
        .or(of(&event.last_timestamp))
        .or(event.event_time.as_ref().map(|time| time.0))
        .or(of(&event.first_timestamp))
        .or(of(&event.metadata.creation_timestamp))
}

fn convert(event: Event, seen: Option<Timestamp>) -> discovery::Event {
    let of_series = event.series.as_ref().and_then(|series| series.count);
    let first = event.first_timestamp.map(|time| time.0);
    let first = first.or(event.event_time.map(|time| time.0));
    let source = event.source.and_then(|source| source.component);
    let source = source.filter(|name| !name.is_empty());
    discovery::Event {
        kind: event.type_.into(),
        reason: event.reason.into(),
        message: event.message.into(),
        count: number(of_series.or(event.count).unwrap_or(1)).max(1),
        first_timestamp: first.or(seen).map(time),
        last_timestamp: seen.map(time),
        source: source.or(event.reporting_component).into(),
        object_kind: Text::non_empty(event.involved_object.kind),
        object_name: Text::non_empty(event.involved_object.name),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::json;

    use super::*;

    fn event(value: serde_json::Value) -> Event {
        serde_json::from_value(value).unwrap()
    }

    fn took(event: &discovery::Event) -> Duration {
        let time = |time: Option<kubefwd_model::Time>| SystemTime::from(time.unwrap());
        let (first, last) = (time(event.first_timestamp), time(event.last_timestamp));
        last.duration_since(first).unwrap()
    }

    #[test]
    fn the_newest_of_all_pages_are_kept_in_order() {
        let at = |hour: u32| {
            event(json!({
                "metadata": {"name": hour.to_string()}, "involvedObject": {},
                "lastTimestamp": format!("2026-11-23T{hour:02}:00:00Z"),
            }))
        };
        let timeless = event(json!({"metadata": {"name": "none"}, "involvedObject": {}}));
        let mut newest = Vec::new();
        keep_newest(&mut newest, vec![at(3), timeless, at(9)], 3);
        keep_newest(&mut newest, vec![at(1), at(12)], 3);
        let names = newest
            .iter()
            .map(|(_, event)| event.metadata.name.clone().unwrap());
        assert_eq!(names.collect::<Vec<_>>(), ["12", "9", "3"]);
    }

    #[test]
    fn both_generations_of_events_are_understood() {
        let old = event(json!({
            "metadata": {}, "involvedObject": {"kind": "Pod", "name": "a"}, "count": 7,
            "source": {"component": "kubelet"},
            "firstTimestamp": "2026-11-23T08:00:00Z", "lastTimestamp": "2026-11-23T09:00:00Z",
        }));
        let seen = last_seen(&old);
        let old = convert(old, seen);
        assert_eq!((old.count, &*old.source), (7, "kubelet"));
        assert_eq!(took(&old), Duration::from_secs(3600));

        let new = event(json!({
            "metadata": {}, "involvedObject": {}, "reportingComponent": "scheduler",
            "eventTime": "2026-11-23T08:00:00.000000Z",
            "series": {"count": 3, "lastObservedTime": "2026-11-23T08:30:00.000000Z"},
        }));
        let seen = last_seen(&new);
        let new = convert(new, seen);
        assert_eq!((new.count, &*new.source), (3, "scheduler"));
        assert_eq!(took(&new), Duration::from_secs(1800));
    }
}
