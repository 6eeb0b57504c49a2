#!/usr/bin/env bash
# The form every source file but tests has: it opens with what it is (`//!`), and is not longer than a person reads
# in one go: 600 lines. Tests are a `tests.rs`, a crate's `tests/`, and what follows `mod tests {`. A test that a
# comment or a page names in (`...`) as the one that holds an invariant is there.
set -euo pipefail
cd "$(dirname "$0")/../.."

failed=0
while IFS= read -r file; do
    case $file in */tests.rs | */tests/*) continue ;; esac
    if ! head -n 1 "$file" | grep -q '^//!'; then
        echo "$file: opens without //! to say what it is"
        failed=1
    fi
    lines=$(awk '/^mod tests \{/ { exit } { n++ } END { print n + 0 }' "$file")
    if [ "$lines" -gt 600 ]; then
        echo "$file: $lines lines without tests, above 600"
        failed=1
    fi
done < <(git ls-files --cached --others --exclude-standard '*.rs')
while IFS= read -r name; do
    if ! git grep -q --untracked "fn $name(" -- '*.rs'; then
        echo "(\`$name\`) names a test that is not there"
        failed=1
    fi
done < <(git grep -h --untracked -oE '\(`[a-z0-9]+(_[a-z0-9]+){3,}`' -- '*.rs' '*.md' | tr -d '(`' | sort -u)
exit $failed
