#!/usr/bin/env bash
# Puts stock restic, the oracle of the tests, below OUTDIR (OUTDIR/bin/restic) without installing anything:
# the package of a newer Debian suite is unpacked beside the system. Needs no root, and does nothing where
# a restic that is new enough lies there already.
#
#   e2e/tools/restic.sh OUTDIR          PILLION_TEST_RESTIC=/path/to/restic: use that one instead
set -euo pipefail

OLDEST=0.19          # older ones write trees that differ in what the tests compare
SUITES="forky sid"   # the first that has a restic of at least $OLDEST is taken
MIRROR=${PILLION_DEBIAN_MIRROR:-}
OUT=$(realpath -m "${1:?usage: restic.sh OUTDIR}")

fail() {
    echo "restic >= $OLDEST is missing and could not be fetched: $1" >&2
    echo "Give the path of one with PILLION_TEST_RESTIC=/path/to/restic (https://github.com/restic/restic/releases)." >&2
    exit 1
}

# Succeeds where $1 is a restic that runs here and is new enough.
new_enough() {
    local version
    version=$("$1" version 2>/dev/null | awk 'NR == 1 && $1 == "restic" { print $2 }') || return 1
    [ -n "$version" ] && [ "$(printf '%s\n' "$OLDEST" "$version" | sort -V | head -n 1)" = "$OLDEST" ]
}

place() {
    mkdir -p "$OUT/bin"
    ln -sfn "$1" "$OUT/bin/restic"
    echo "$("$OUT/bin/restic" version) at $OUT/bin/restic"
}

if [ -n "${PILLION_TEST_RESTIC:-}" ] && [ "$(realpath -m "$PILLION_TEST_RESTIC")" != "$(realpath -m "$OUT/bin/restic")" ]; then
    new_enough "$PILLION_TEST_RESTIC" ||
        fail "PILLION_TEST_RESTIC=$PILLION_TEST_RESTIC is no restic of version $OLDEST or newer"
    place "$(realpath "$PILLION_TEST_RESTIC")"
    exit 0
fi
if new_enough "$OUT/bin/restic"; then exit 0; fi
if found=$(type -P restic) && new_enough "$found"; then place "$found"; exit 0; fi

for program in apt-get dpkg-deb; do
    type -P "$program" >/dev/null || fail "no $program: this is not Debian or one of its kin"
done
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$KEYRING" ] || fail "no $KEYRING to check Debian's signatures with (package debian-archive-keyring)"

# The machine's own mirror knows its network best.
if [ -z "$MIRROR" ]; then
    MIRROR=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
        grep -v '^ *#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' ') || true
    MIRROR=${MIRROR:-http://deb.debian.org/debian}
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists,archives}/partial "$work"/{sources,deb}
why="no suite of '$SUITES' at $MIRROR has it"
for suite in $SUITES; do
    echo "deb [signed-by=$KEYRING] $MIRROR $suite main" >"$work/sources/$suite.list"
    # Nothing of the system's own apt is read for writing: lists, cache and status are ours.
    apt=(apt-get -qq
        -o Dir::Etc::sourcelist="$work/sources/$suite.list" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
        -o Dir::State="$work" -o Dir::State::lists="$work/lists" -o Dir::State::status=/dev/null
        -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives"
        -o Acquire::Languages=none -o Acquire::Retries=2 -o Acquire::http::Timeout=30
        -o APT::Sandbox::User="$(id -un)" -o APT::Update::Error-Mode=any)
    if ! "${apt[@]}" update >"$work/log" 2>&1 || ! (cd "$work/deb" && "${apt[@]}" download restic) >>"$work/log" 2>&1; then
        why="apt-get cannot get it from $MIRROR ($suite): $(tail -n 1 "$work/log")"
        continue
    fi
    rm -rf "$OUT/restic.new"
    mkdir -p "$OUT/restic.new"
    dpkg-deb -x "$work"/deb/restic_*.deb "$OUT/restic.new"
    rm -f "$work"/deb/*.deb
    if new_enough "$OUT/restic.new/usr/bin/restic"; then
        rm -rf "$OUT/restic"
        mv "$OUT/restic.new" "$OUT/restic"
        place "$OUT/restic/usr/bin/restic"
        exit 0
    fi
    why="the one of Debian $suite is too old or does not run here"
done
rm -rf "$OUT/restic.new"
fail "$why"
