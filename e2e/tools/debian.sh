#!/usr/bin/env bash
# Unpacks a package of any Debian suite into FOLDER, beside the system and without installing it. Needs no root.
#   e2e/tools/debian.sh FOLDER SUITE PACKAGE      PILLION_DEBIAN_MIRROR=http://...: the mirror, else the machine's own
# Ends in failure with the reason in one line on standard error.
set -euo pipefail

OUT=${1:?usage: debian.sh FOLDER SUITE PACKAGE}
SUITE=$2
PACKAGE=$3
MIRROR=${PILLION_DEBIAN_MIRROR:-}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

for program in apt-get dpkg-deb; do
    type -P "$program" >/dev/null || { echo "no $program: this is not Debian or one of its kin" >&2; exit 1; }
done
if [ ! -r "$KEYRING" ]; then
    echo "no $KEYRING to check Debian's signatures with (package debian-archive-keyring)" >&2
    exit 1
fi

# The machine's own mirror knows its network best.
if [ -z "$MIRROR" ]; then
    MIRROR=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
        grep -v '^ *#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' ') || true
    MIRROR=${MIRROR:-http://deb.debian.org/debian}
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists,archives}/partial "$work"/{sources,deb}
echo "deb [signed-by=$KEYRING] $MIRROR $SUITE main" >"$work/sources/$SUITE.list"
# Nothing of the system's own apt is read for writing: lists, cache and status are ours.
apt=(apt-get -qq
    -o Dir::Etc::sourcelist="$work/sources/$SUITE.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
    -o Dir::State="$work" -o Dir::State::lists="$work/lists" -o Dir::State::status=/dev/null
    -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives"
    -o Acquire::Languages=none -o Acquire::Retries=2 -o Acquire::http::Timeout=30
    -o APT::Sandbox::User="$(id -un)" -o APT::Update::Error-Mode=any)
if ! "${apt[@]}" update >"$work/log" 2>&1 || ! (cd "$work/deb" && "${apt[@]}" download "$PACKAGE") >>"$work/log" 2>&1; then
    echo "apt-get cannot get it from $MIRROR ($SUITE): $(tail -n 1 "$work/log")" >&2
    exit 1
fi
rm -rf "$OUT"
mkdir -p "$OUT"
dpkg-deb -x "$work"/deb/*.deb "$OUT"
