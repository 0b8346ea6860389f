//! A page in a browser, driven over the browser's own protocol: messages that end with a zero byte, over two pipes.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use kubefwd_tests::harness::sandbox::Sandbox;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::support::text;

/// A page; the browser ends with it.
pub(crate) struct Page {
    browser: Child,
    orders: File,
    reports: BufReader<File>,
    session: Option<String>,
    last: u64,
}

impl Page {
    /// Opens a page in a browser of its own.
    pub(crate) fn open(browser: &Command, sandbox: &Sandbox, url: &str) -> Self {
        let (orders, reports) = (sandbox.path("orders"), sandbox.path("reports"));
        for pipe in [&orders, &reports] {
            mkfifo(pipe, Mode::S_IRWXU).unwrap();
        }
        // The protocol is spoken over descriptors 3 and 4.
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "exec \"$@\" --remote-debugging-pipe 3<\"$ORDERS\" 4>\"$REPORTS\"",
                "sh",
            ])
            .arg(browser.get_program())
            .args(browser.get_args())
            .env("ORDERS", &orders)
            .env("REPORTS", &reports)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let browser = command.spawn().unwrap();
        let orders = OpenOptions::new().write(true).open(orders).unwrap();
        let reports = BufReader::new(File::open(reports).unwrap());
        let mut page = Self {
            browser,
            orders,
            reports,
            session: None,
            last: 0,
        };
        let target = page.order("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = page.order("Target.attachToTarget", attach);
        page.session = Some(text(&attached["sessionId"]).to_owned());
        let _frame = page.order("Page.navigate", json!({"url": url}));
        page
    }

    /// The value of an expression, or what it promises.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let evaluate =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let result = self.order("Runtime.evaluate", evaluate);
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {result}"
        );
        result["result"]["value"].clone()
    }

    fn order(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut order = json!({"id": self.last, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            order["sessionId"] = json!(session);
        }
        let order = order.to_string();
        self.orders
            .write_all(&[order.as_bytes(), b"\0"].concat())
            .unwrap();
        loop {
            let mut report = Vec::new();
            self.reports.read_until(0, &mut report).unwrap();
            assert_eq!(report.pop(), Some(0), "the browser ended during {method}");
            let report: Value = serde_json::from_slice(&report).unwrap();
            if report["id"] == self.last {
                assert!(report["error"].is_null(), "{method}: {report}");
                return report["result"].clone();
            }
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _killed = self.browser.kill();
        let _ended = self.browser.wait();
    }
}
