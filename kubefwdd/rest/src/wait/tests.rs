//! Waiting until what was added is active.

use kubefwd_core::samples;

use super::*;

#[test]
fn a_wait_is_a_switch_a_number_or_a_time() {
    let read = |text: &str| serde_json::from_str::<Wait>(text).ok().map(|wait| wait.0);
    assert_eq!(read("true"), Some(Some(DEFAULT_WAIT)));
    assert_eq!(read("false"), Some(None));
    assert_eq!(read("null"), Some(None));
    assert_eq!(read("5"), Some(Some(Duration::from_secs(5))));
    assert_eq!(read("\"1m30s\""), Some(Some(Duration::from_secs(90))));
    for wrong in ["601", "-1", "\"soon\"", "[]", "1e99"] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}

fn namespace_service(view: &View, name: &str) -> ServiceKey {
    view.services
        .keys()
        .find(|key| key.service.as_str() == name)
        .unwrap()
        .clone()
}

#[tokio::test(start_paused = true)]
async fn the_answer_comes_with_the_last_service_or_names_it() {
    let mut view = View::default();
    samples::add(&mut view, samples::service(1.into(), "api", "shop", "kind"));
    let mut slow = samples::service(1.into(), "db", "shop", "kind");
    (slow.status, slow.status_reason) = (ServiceStatus::Pending, "no pod is ready".to_owned());
    samples::add(&mut view, slow.clone());
    let mut unsupported = samples::service(1.into(), "udp", "shop", "kind");
    unsupported.status = ServiceStatus::Unsupported;
    samples::add(&mut view, unsupported);
    let (sender, views) = watch::channel(Arc::new(view.clone()));
    let target = Awaited::Namespace(slow.key.namespace_key());

    let wait = Wait(Some(Duration::from_secs(5)));
    let error = until_active(views.clone(), &target, wait)
        .await
        .unwrap_err();
    assert_eq!(error.status, StatusCode::SERVICE_UNAVAILABLE);
    let keys: Vec<_> = error
        .body
        .not_ready
        .iter()
        .map(|one| one.key.as_str())
        .collect();
    assert_eq!(keys, ["db.shop.kind"]);
    assert!(
        error.body.message.contains("no pod is ready"),
        "{}",
        error.body.message
    );

    let udp = namespace_service(&view, "udp");
    let error = until_active(views.clone(), &Awaited::Service(udp), wait)
        .await
        .unwrap_err();
    assert_eq!(error.status, StatusCode::CONFLICT);

    let waiting = tokio::spawn(async move { until_active(views, &target, wait).await.is_ok() });
    slow.status = ServiceStatus::Active;
    samples::add(&mut view, slow);
    sender.send_replace(Arc::new(view));
    assert!(waiting.await.unwrap());
}
