//! What is asked over REST.

/// What is read: topics, each with its paths.
pub(crate) const READ: &str = "
rest-daemon
    /api/health
    /api/info
    /api/v1/hostnames
    /
    /docs/
rest-services
    /api/v1/services
    /api/v1/services?namespace=other
    /api/v1/services?context=nowhere
    /api/v1/services?status=error
    /api/v1/services?search=PEER&limit=1
    /api/v1/services?limit=2&offset=3
    /api/v1/services/dns.demo.sim
    /api/v1/services/ext.demo.sim
    /api/v1/services/idle.demo.sim
    /api/v1/services/peers.demo.sim
    /api/v1/services/peers-1.peers.demo.sim
    /api/v1/services/printer.demo.sim
    /api/v1/services/taken.demo.sim
    /api/v1/services/web.demo
    /api/v1/services/web.demo.sim
    /api/v1/services/blocked.demo.sim
    /api/v1/services/shut.demo.sim
    /api/v1/services/single.other.sim
rest-forwards
    /api/v1/forwards
    /api/v1/forwards?service=taken
    /api/v1/forwards?service=web.demo.sim
    /api/v1/forwards?status=error
    /api/v1/forwards?limit=1&offset=1
rest-http
    /api/v1/services/web.demo.sim/http
    /api/v1/services/web.demo.sim/http?count=2
    /api/v1/services/peers.demo.sim/http
    /api/v1/services/echo.demo.sim/http
rest-namespaces
    /api/v1/namespaces
    /api/v1/namespaces/demo.sim
    /api/v1/namespaces/other.sim
    /api/v1/namespaces/closed.sim
rest-kubernetes
    /api/v1/kubernetes/contexts
    /api/v1/kubernetes/namespaces
    /api/v1/kubernetes/services?namespace=demo
    /api/v1/kubernetes/services?namespace=other&context=sim
    /api/v1/kubernetes/services?namespace=closed
    /api/v1/kubernetes/services/demo/multi
    /api/v1/kubernetes/services/demo/ext
    /api/v1/kubernetes/events/demo
    /api/v1/kubernetes/events/demo?limit=1
    /api/v1/kubernetes/events/demo?resourceKind=Pod&resourceName=web-0
    /api/v1/kubernetes/endpoints/demo/idle
    /api/v1/kubernetes/endpoints/demo/peers
rest-pods
    /api/v1/kubernetes/pods/demo
    /api/v1/kubernetes/pods/demo?labelSelector=app%3Dpeers
    /api/v1/kubernetes/pods/demo?serviceName=multi
    /api/v1/kubernetes/pods/demo/idle
    /api/v1/kubernetes/pods/demo/web-0
    /api/v1/kubernetes/pods/demo/web-0/logs
    /api/v1/kubernetes/pods/demo/web-0/logs?tailLines=1&container=web
rest-metrics
    /api/v1/metrics
    /api/v1/metrics/services
    /api/v1/metrics/services/echo.demo.sim
    /api/v1/metrics/services/echo.demo.sim/history?duration=5m&interval=1m
rest-diagnostics
    /api/v1/analyze
    /api/v1/diagnostics
    /api/v1/diagnostics/errors
    /api/v1/diagnostics/errors?count=1
    /api/v1/diagnostics/network
    /api/v1/diagnostics/services/dns.demo.sim
    /api/v1/diagnostics/services/printer.demo.sim
    /api/v1/diagnostics/services/shut.demo.sim
    /api/v1/diagnostics/services/taken.demo.sim
    /api/v1/diagnostics/services/web.demo.sim
    /api/v1/status
rest-history
    /api/v1/history/errors
    /api/v1/history/events?count=1000
    /api/v1/history/events?type=namespace.added
    /api/v1/history/reconnections
    /api/v1/history/stats
    /api/v1/services/web.demo.sim/history/reconnections
rest-logs
    /api/v1/logs?count=1000
    /api/v1/logs?level=warn
    /api/v1/logs?service=taken
    /api/v1/logs/system?count=1000
";

/// Method, path and body of what is refused.
pub(crate) const REFUSED: &str = r#"
GET /api/v1/nothing
PUT /api/v1/services
GET /api/v1/services?limit=0
GET /api/v1/services?status=odd
GET /api/v1/services/nothing.demo.sim
GET /api/v1/services/web
GET /api/v1/services/nothing.demo.sim/http
GET /api/v1/services/nothing.demo.sim/history/reconnections
GET /api/v1/forwards?status=odd
GET /api/v1/forwards/nothing.demo.sim.pod.80
GET /api/v1/namespaces/nothing.sim
GET /api/v1/metrics/services/nothing.demo.sim
GET /api/v1/metrics/services/web.demo.sim/history?duration=long
GET /api/v1/diagnostics/forwards/nothing.demo.sim.pod.80
GET /api/v1/history/events?type=odd
GET /api/v1/history/errors?count=0
GET /api/v1/logs?level=loud
GET /api/v1/kubernetes/namespaces?context=nowhere
GET /api/v1/kubernetes/pods/demo/nothing
GET /api/v1/kubernetes/pods/demo/web-0/logs?container=no
GET /api/v1/kubernetes/services/demo/nothing
POST /api/v1/namespaces {
POST /api/v1/namespaces {"namespace":"Not_A_Name"}
POST /api/v1/namespaces {"namespace":"missing"}
POST /api/v1/services {"namespace":"demo","serviceName":"missing"}
POST /api/v1/services {"namespace":"other","serviceName":"extra","localIP":"10.1.1.1"}
DELETE /api/v1/services/nothing.demo.sim
POST /api/v1/services/nothing.demo.sim/reconnect
POST /api/v1/services/nothing.demo.sim/sync
PUT /api/v1/services/nothing.demo.sim/http {"capture":true}
PUT /api/v1/services/web.demo.sim/http {"capture":"maybe"}
DELETE /api/v1/namespaces/nothing.sim
GET /api/v1/diagnostics/services/nothing.demo.sim
GET /api/v1/events?type=odd
GET /api/v1/kubernetes/endpoints/demo/nothing
GET /api/v1/kubernetes/events/demo?limit=0
GET /api/v1/logs/stream?level=loud
"#;

/// The same of what changes something, in this order.
pub(crate) const CHANGED: &str = r#"
POST /api/v1/services {"namespace":"other","serviceName":"extra","ports":["80:8099"],"wait":true}
PUT /api/v1/services/web.demo.sim/http {"capture":false}
POST /api/v1/services/multi.demo.sim/reconnect
POST /api/v1/services/multi.demo.sim/sync?force=true
POST /api/v1/services/reconnect
DELETE /api/v1/services/shop-api.other.sim
DELETE /api/v1/services/extra.other.sim
DELETE /api/v1/namespaces/other.sim
POST /api/v1/namespaces {"namespace":"other","include":["shop-api"],"wait":"30s"}
DELETE /api/v1/namespaces/closed.sim
DELETE /api/v1/logs/system
"#;
