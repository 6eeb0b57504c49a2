#!/usr/bin/env bash
# Says what this machine lacks for the build, all of it at once, with what to do about it.
#   e2e/tools/environment.sh [c++]        c++: the fuzz targets are to be built too
set -euo pipefail

missing=()
type -P cargo >/dev/null || missing+=("cargo: install Rust from https://rustup.rs (rust-toolchain.toml picks the version)")
type -P cc >/dev/null || type -P gcc >/dev/null || type -P clang >/dev/null ||
    missing+=("a C compiler, for zstd and aws-lc: apt-get install build-essential")
if [ "${1:-}" = c++ ] && ! type -P c++ >/dev/null; then
    missing+=("a C++ compiler, for libFuzzer: apt-get install build-essential")
fi
if [ "$(uname -s)" != Linux ]; then
    missing+=("Linux: source access needs openat2 and statx")
fi
if [ ${#missing[@]} -gt 0 ]; then
    echo "This machine lacks:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
fi
