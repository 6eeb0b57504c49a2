#!/usr/bin/env bash
# Runs the fuzz targets of the format's decoders, each for some seconds, with libFuzzer on the stable toolchain.
#   e2e/tools/fuzz.sh SECONDS [TARGET...]
# Findings lie in agent/repository/fuzz/artifacts/TARGET/, what was learned in corpus/TARGET/; what is worth
# keeping is put into seeds/TARGET/ by hand.
set -euo pipefail

seconds=${1:?usage: fuzz.sh SECONDS [TARGET...]}
shift
cd "$(dirname "$0")/../../agent/repository/fuzz"
host=$(rustc -vV | sed -n 's/^host: //p')

# The flags that cargo-fuzz gives, less the sanitizers, which need a nightly compiler: all of the code is safe Rust,
# so that its panics, overflows, hangs and allocations are what there is to find.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
# An explicit target keeps the flags away from build scripts and macros.
CARGO_TARGET_DIR=$PWD/target cargo build --quiet --locked --release --target "$host" --bins

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for file in src/bin/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    log=artifacts/$target/log
    corpora=("corpus/$target")
    if [ -d "seeds/$target" ]; then corpora+=("seeds/$target"); fi
    if ! "target/$host/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=768 \
        -max_len=65536 -print_final_stats=1 -artifact_prefix="artifacts/$target/" "${corpora[@]}" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "fuzz: $target failed; the input lies in agent/repository/fuzz/artifacts/$target/" >&2
        exit 1
    fi
    echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, $(grep -oE 'cov: [0-9]+' "$log" | tail -n 1)"
done
