#!/usr/bin/env bash
# Installs schemathesis, which asks the agent what its OpenAPI document says it answers, below OUTDIR/schemathesis. In one
# version, and once: where it is there it only looks.
#
#   e2e/tools/schemathesis.sh OUTDIR
set -euo pipefail

VERSION=4.32.5
OUT=$(realpath -m "${1:?usage: schemathesis.sh OUTDIR}")

if [ "$(cat "$OUT/schemathesis.version" 2>/dev/null)" = "$VERSION" ]; then exit 0; fi
echo "installing schemathesis ($VERSION)"
mkdir -p "$OUT"
rm -rf "$OUT/schemathesis"
if ! { python3 -m venv "$OUT/schemathesis" &&
    "$OUT/schemathesis/bin/pip" install --disable-pip-version-check --quiet "schemathesis==$VERSION"; } \
    >"$OUT/schemathesis.log" 2>&1; then
    tail -n 20 "$OUT/schemathesis.log" >&2
    echo "schemathesis ($VERSION), which tests the agent's HTTP interface, could not be installed: see $OUT/schemathesis.log" >&2
    exit 1
fi
echo "$VERSION" >"$OUT/schemathesis.version"
