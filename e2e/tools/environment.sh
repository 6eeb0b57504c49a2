#!/usr/bin/env bash
# Says what this machine lacks for the build, all of it at once, with what to do about it.
#   e2e/tools/environment.sh [c++] [stores]     c++: the fuzz targets are to be built too, stores: the stores' servers
set -euo pipefail

GO_OLDEST=1.21 # fetches by itself the newer Go that a module asks for
WANTED=" $* "
wants() { [[ $WANTED == *" $1 "* ]]; }

missing=()
type -P cargo >/dev/null || missing+=("cargo: install Rust from https://rustup.rs (rust-toolchain.toml picks the version)")
type -P cc >/dev/null || type -P gcc >/dev/null || type -P clang >/dev/null ||
    missing+=("a C compiler, for zstd and aws-lc: apt-get install build-essential")
if wants c++ && ! type -P c++ >/dev/null; then
    missing+=("a C++ compiler, for libFuzzer: apt-get install build-essential")
fi
if wants stores; then
    go=$(go env GOVERSION 2>/dev/null) || go=go0
    [ "$(printf '%s\n' "go$GO_OLDEST" "$go" | sort -V | head -n 1)" = "go$GO_OLDEST" ] ||
        missing+=("Go $GO_OLDEST or newer, for versitygw: https://go.dev/dl, or golang-go of Debian 13 or bookworm-backports")
    type -P node >/dev/null && type -P npm >/dev/null ||
        missing+=("Node.js with npm, for Azurite: apt-get install nodejs npm")
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
        missing+=("Python 3 with venv, for SeaweedFS, the model of B2 and schemathesis: apt-get install python3-venv")
fi
if [ "$(uname -s)" != Linux ]; then
    missing+=("Linux: source access needs openat2 and statx")
fi
if [ ${#missing[@]} -gt 0 ]; then
    echo "This machine lacks:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
fi
