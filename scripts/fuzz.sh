#!/usr/bin/env bash
# Fuzzes the readers of files and texts: `scripts/fuzz.sh [SECONDS] [TARGET...]`. By default all targets of fuzz/targets
# share 240 seconds. Prints one line per target: executions, covered edges and CPU seconds. The first failing input of a
# target is kept, and the command that reproduces the failure is printed. Exits with 1 if a target fails.
#
# Requires a C++ compiler, and installs g++ with apt-get if there is none. libFuzzer is built from its sources on
# crates.io; the stable compiler can instrument code for it. AddressSanitizer, which detects invalid accesses in `unsafe`
# code, is an unstable option that RUSTC_BOOTSTRAP permits. Without its library in the toolchain the targets run without it.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    sed -n '2,4s/^# //p' "$0"
    echo "targets: ${all[*]}"
}

all=()
for file in fuzz/targets/*.rs; do
    all+=("$(basename "$file" .rs)")
done
seconds=240
if [[ ${1-} =~ ^[0-9]+$ ]]; then
    seconds=$1
    shift
fi
targets=("${@:-}")
if (($# == 0)); then
    targets=("${all[@]}")
fi
for target in "${targets[@]}"; do
    if [[ ! -f fuzz/targets/$target.rs ]]; then
        usage >&2
        exit 2
    fi
done

if ! command -v c++ >/dev/null; then
    DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 update -q
    DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 install -y -q --no-install-recommends g++
fi

host=$(rustc -vV | sed -n 's/^host: //p')
folder=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
instrumented=(
    -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg=fuzzing
)
if compgen -G "$(rustc --print sysroot)/lib/rustlib/$host/lib/librustc-*_rt.asan.a" >/dev/null; then
    export RUSTC_BOOTSTRAP=1
    instrumented+=(-Zsanitizer=address)
else
    echo "AddressSanitizer is disabled: the toolchain has no AddressSanitizer library for $host"
fi

# The tested versions of the dependencies.
cp Cargo.lock fuzz/Cargo.lock
bins=()
for target in seeds "${targets[@]}"; do
    bins+=(--bin "$target")
done
# With an explicit `--target`, RUSTFLAGS do not apply to build scripts and macros.
RUSTFLAGS=${instrumented[*]} cargo build --release --quiet --manifest-path fuzz/Cargo.toml --target-dir "$folder" \
    --target "$host" "${bins[@]}"
programs=$folder/$host/release
"$programs/seeds" "$folder/seeds"

# The default stack size of Rust's threads, on which users may read files.
ulimit -s 2048
# Memory that is not freed at exit is not a finding.
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=0 RUST_BACKTRACE=1

each=$((seconds / ${#targets[@]}))
each=$((each > 0 ? each : 1))
failed=0
TIMEFORMAT=%0U
for target in "${targets[@]}"; do
    corpus=$folder/corpus/$target kept=$folder/findings/$target
    mkdir -p "$corpus" "$kept"
    inputs=("$corpus" "$folder/seeds/$target")
    if [[ -d fuzz/corpus/$target ]]; then
        inputs+=("fuzz/corpus/$target")
    fi
    case $target in
    compile) dictionary=spec ;;
    hdf5) dictionary=keras ;;
    c_interface | classify) dictionary=container ;;
    *) dictionary=$target ;;
    esac
    options=(-max_total_time="$each" -timeout=25 -rss_limit_mb=2560 -malloc_limit_mb=1024 -max_len=180000)
    options+=(-artifact_prefix="$kept/" -print_final_stats=1)
    if [[ -f fuzz/dictionaries/$dictionary.dict ]]; then
        options+=(-dict="fuzz/dictionaries/$dictionary.dict")
    fi
    log=$folder/$target.log status=0
    { time "$programs/$target" "${options[@]}" "${inputs[@]}" >"$log" 2>&1; } 2>"$folder/cpu" || status=$?
    executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    printf '%-11s %9s executions, %6s edges, %5s s of CPU: ' "$target" "${executed:-?}" "${covered:-?}" "$(tail -n 1 "$folder/cpu")"
    if ((status == 0)); then
        echo "no failure"
        continue
    fi
    failed=1
    echo "FAILED"
    grep -m 1 -A 3 -E "panicked at|ERROR: " "$log" | sed 's/^/    /' || tail -n 5 "$log"
    found=$(sed -n "s/.*Test unit written to //p" "$log" | tail -n 1)
    echo "    reproduce: $programs/$target ${found:-"(see $log)"}"
done
exit "$failed"
