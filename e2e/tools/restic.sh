#!/usr/bin/env bash
# Puts stock restic, the oracle of the tests, below OUTDIR (OUTDIR/bin/restic) without installing anything:
# the package of a newer Debian suite is unpacked beside the system. Needs no root, and does nothing where
# a restic that is new enough lies there already.
#
#   e2e/tools/restic.sh OUTDIR          PILLION_TEST_RESTIC=/path/to/restic: use that one instead
set -euo pipefail

OLDEST=0.19          # older ones write trees that differ in what the tests compare
SUITES="forky sid"   # the first that has a restic of at least $OLDEST is taken
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

why="no suite of '$SUITES' has it"
for suite in $SUITES; do
    if ! why=$("$(dirname "$0")/debian.sh" "$OUT/restic.new" "$suite" restic 2>&1); then continue; fi
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
