#!/bin/sh
# Makes the golden repositories again: RESTIC=/path/to/restic ./make.sh
# Stock restic 0.19 writes them; what lies here is committed, so tests need no restic. IDs and keys are random, so
# that a second run gives other files with the same content. Beside each repository lie a lock file taken from it
# while restic worked, and its config as restic prints it.
set -eu
restic=${RESTIC:-restic}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RESTIC_PASSWORD=geheim TZ=UTC RESTIC_FEATURES=device-id-for-hardlinks=true RESTIC_CACHE_DIR="$work/cache"

mkdir -p "$work/source/<folder> & \"quotes\"/empty"
cd "$work"
printf 'hello\n' >source/hello
: >source/nothing
awk 'BEGIN { for (i = 0; i < 300; i++) print i, "all work and no play" }' >source/text
head -c 3000 /dev/urandom >"source/<folder> & \"quotes\"/random"
printf 'bytes' >"$(printf 'source/not \377 UTF-8')"
ln -s hello source/link
find source -exec touch -h -d '2024-02-29T12:34:56.789Z' {} +

for version in 1 2; do
    repository="$here/version-$version"
    rm -rf "$repository" "$here/lock-$version"
    mkdir "$repository"
    if [ "$version" = 2 ]; then
        # Above the window of 512 KiB a frame has another header; only compressed is it small enough to commit.
        head -c 1000000 /dev/zero >source/zeros
        touch -d '2024-02-29T12:34:56.789Z' source/zeros source
    fi
    "$restic" -q -r "$work/$version" init --repository-version "$version"
    "$restic" -q -r "$work/$version" backup --host host-0 --tag a,b source
    printf 'changed\n' >source/hello
    # A lock is there only while restic works, so the second backup copies its own.
    "$restic" -q -r "$work/$version" backup --host host-0 --stdin-filename dump --stdin-from-command -- \
        sh -c "cp '$work/$version'/locks/* '$work/lock'; echo dumped"
    "$restic" -q -r "$work/$version" backup --host host-0 --exclude '*.o' source
    mv "$work/lock" "$here/lock-$version"
    printf 'hello\n' >source/hello
    touch -d '2024-02-29T12:34:56.789Z' source/hello
    cp -r "$work/$version/." "$repository/"
    chmod -R u+w "$repository" "$here/lock-$version"
    "$restic" -q -r "$work/$version" cat config >"$here/config-$version.json"
done
du -sh "$here"/version-*
