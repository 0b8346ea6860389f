//! A namespace of the bench's own on a real cluster, with applications that need nothing but busybox.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::kubectl;
use crate::load::UPLOAD;
use crate::tools::App;

/// The namespace, deleted with this value.
pub(crate) struct Real {
    kubeconfig: PathBuf,
    pub(crate) context: String,
    pub(crate) namespace: String,
}

impl Real {
    /// Makes the namespace and waits until its pods are ready.
    pub(crate) fn start(kubeconfig: &Path, context: String) -> Result<Self> {
        let real = Self {
            kubeconfig: kubeconfig.to_owned(),
            context,
            namespace: format!("kubefwd-bench-{}", std::process::id()),
        };
        let namespace = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": real.namespace},
        });
        real.apply(&namespace.to_string())?;
        real.apply(&manifest())?;
        let namespace = ["-n", &real.namespace];
        let wait = ["rollout", "status", "deployment/tools", "--timeout=120s"];
        real.kubectl(&[&namespace[..], &wait].concat())?;
        Ok(real)
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        kubectl::run(&self.kubeconfig, &self.context, arguments)
    }

    fn apply(&self, manifest: &str) -> Result<()> {
        let mut child = Command::new(kubectl::find()?)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--context", &self.context, "-n", &self.namespace])
            .args(["apply", "--validate=false", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot run kubectl")?;
        let mut input = child.stdin.take().context("it was asked for")?;
        input.write_all(manifest.as_bytes())?;
        drop(input);
        let status = child.wait()?;
        ensure!(status.success(), "kubectl apply ended with {status}");
        Ok(())
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let delete = ["delete", "namespace", &self.namespace, "--wait=false"];
        if let Err(error) = self.kubectl(&delete) {
            // The name says whose it is to whoever finds it.
            let _unreported = writeln!(std::io::stderr(), "bench: {error:#}");
        }
    }
}

/// A deployment `tools` with a container per application, and its service.
fn manifest() -> String {
    let image = std::env::var("KUBEFWD_TEST_IMAGE").unwrap_or_else(|_| "busybox".to_owned());
    let command = |app: App| match app {
        App::Echo => format!("exec nc -lk -p {} -e cat", app.port()),
        App::Source => format!("exec nc -lk -p {} -e cat /dev/zero", app.port()),
        // The length comes first, as in the simulated cluster; there is only one.
        App::Sink => format!(
            "printf '#!/bin/sh\\nhead -c {} >/dev/null; echo ok {UPLOAD}\\n' > /sink; chmod +x /sink; \
             exec nc -lk -p {} -e /sink",
            UPLOAD + 8,
            app.port()
        ),
        App::Http => format!(
            "mkdir /www; echo hello > /www/index.html; exec httpd -f -p {} -h /www",
            app.port()
        ),
    };
    let container = |app: App| {
        serde_json::json!({
            "name": app.name(),
            "image": image,
            "command": ["sh", "-c", command(app)],
            "ports": [{"name": app.name(), "containerPort": app.port()}],
            "readinessProbe": {"tcpSocket": {"port": app.port()}, "periodSeconds": 1},
        })
    };
    let port = |app: App| serde_json::json!({"name": app.name(), "port": app.port(), "targetPort": app.name()});
    let labels = serde_json::json!({"app": "tools"});
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "tools"}, "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": App::ALL.map(container),
            }},
        }},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "tools"}, "spec": {
            "selector": labels, "ports": App::ALL.map(port),
        }},
    ]})
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_real_cluster_is_given_names_every_application() {
        let list: serde_json::Value = serde_json::from_str(&manifest()).unwrap();
        let containers = &list["items"][0]["spec"]["template"]["spec"]["containers"];
        assert_eq!(containers.as_array().unwrap().len(), App::ALL.len());
        let sink = containers[2]["command"][2].as_str().unwrap();
        assert!(sink.contains(&format!("echo ok {UPLOAD}")), "{sink}");
    }
}
