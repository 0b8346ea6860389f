#!/bin/sh
# Prints the path of schemathesis, which holds the REST API against its own description: from PyPI, in the versions of
# schemathesis.txt, kept in target/tools. Prints nothing where it cannot be had, with a word on standard error.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tools=${1:-$(cd "$here/../.." && pwd)/target/tools}
venv=$tools/schemathesis-$(cksum <"$here/schemathesis.txt" | cut -d' ' -f1)

if [ ! -x "$venv/bin/schemathesis" ]; then
    mkdir -p "$tools"
    work=$(mktemp -d "$tools/schemathesis.XXXXXX") || exit 0
    trap 'rm -rf "$work"' EXIT
    # A package that installs programs writes the path of its own interpreter into them: built in place, named when whole.
    if python3 -m venv "$work" >&2 &&
        "$work/bin/python" -m pip install -q --disable-pip-version-check -r "$here/schemathesis.txt" >&2; then
        printf '#!/bin/sh\nexec "%s/bin/python" -m schemathesis.cli "$@"\n' "$venv" >"$work/bin/schemathesis"
        chmod +x "$work/bin/schemathesis"
        # A rename, so that tests that run at the same time see all of it or nothing.
        mv -T "$work" "$venv" 2>/dev/null || true
    else
        echo "schemathesis.sh: PyPI has no schemathesis for this machine, or python3 has no venv (Debian: python3-venv)" >&2
    fi
fi
[ -x "$venv/bin/schemathesis" ] && echo "$venv/bin/schemathesis"
exit 0
