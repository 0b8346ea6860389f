//! Names, units and labels, in both formats.

use std::sync::Arc;

use kubefwd_core::samples;
use kubefwd_model as model;
use kubefwd_model::FirstByte;
use kubefwd_model::entry::Totals;
use kubefwd_telemetry::http::HttpSummary;

use super::classic;
use super::scrape::{Scrape, Used};

#[test]
fn names_units_and_labels_are_as_documented() {
    let mut forward = samples::forward("api.shop.kind.api-6f.80", 80);
    forward.traffic.opened = 3;
    forward.traffic.first_byte = FirstByte {
        sum_us: 1_500_000,
        count: 2,
    };
    let service = model::Service {
        forwards: vec![forward],
        ..samples::service(1.into(), "api", "shop", "a\"b")
    };
    let totals = Totals {
        bytes_in: 20,
        bytes_out: 10,
    };
    let http = HttpSummary {
        classes: [0, 4, 0, 0, 0],
        ..Default::default()
    };
    let scrape = Scrape {
        version: "1.2.3",
        uptime: 5.0,
        namespaces: [("watching", 1)].into(),
        services: [("active", 1)].into(),
        forwards: [("active", 1)].into(),
        errors: 0,
        hosts_entries: 2,
        hosts_writes: 7,
        restarts: vec![(1000.into(), 1)],
        used: vec![Used {
            service: Arc::new(service),
            totals,
            http,
        }],
    };
    let body = scrape.encode().unwrap();
    for line in [
        "kubefwd_build_info{version=\"1.2.3\"} 1",
        "kubefwd_uptime_seconds 5.0",
        "kubefwd_services{status=\"active\"} 1.0",
        "kubefwd_hosts_writes_total 7",
        "kubefwd_worker_restarts_total{uid=\"1000\"} 1",
        "kubefwd_service_received_bytes_total{context=\"a\\\"b\",namespace=\"shop\",service=\"api\"} 20",
        "kubefwd_http_requests_total{context=\"a\\\"b\",namespace=\"shop\",service=\"api\",class=\"2xx\"} 4",
    ] {
        assert!(body.lines().any(|found| found == line), "{line}\n{body}");
    }
    let series = "{context=\"a\\\"b\",namespace=\"shop\",service=\"api\",address=\"127.1.27.1\",port=\"80\"}";
    assert!(
        body.contains(&format!(
            "kubefwd_forward_first_byte_seconds_sum{series} 1.5"
        )),
        "{body}"
    );
    assert!(body.ends_with("# EOF\n"));
    let classic = classic(&body);
    for line in [
        "# HELP kubefwd_hosts_writes_total Hosts file writes",
        "# TYPE kubefwd_hosts_writes_total counter",
        "# TYPE kubefwd_build_info gauge",
        "# TYPE kubefwd_uptime_seconds gauge",
    ] {
        assert!(
            classic.lines().any(|found| found == line),
            "{line}\n{classic}"
        );
    }
    let documented = include_str!("../../../../docs/metrics.md").lines();
    let documented: Vec<&str> = documented
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let helps = classic
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP "));
    let written: Vec<&str> = helps.filter_map(|help| help.split(' ').next()).collect();
    assert_eq!(written, documented);
    assert!(
        !classic.contains("EOF") && !classic.contains("# UNIT"),
        "{classic}"
    );
}
