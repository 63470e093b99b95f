#!/usr/bin/env bash
# Runs calls that threads share under ThreadSanitizer: tests/races. Fails if it reports a data race.
#
# Needs a nightly toolchain with the sources of the standard library, which is instrumented, too. Installs what is missing.
# MBVC_NIGHTLY selects another toolchain, such as nightly-2026-05-20.
set -euo pipefail
cd "$(dirname "$0")/.."

nightly=${MBVC_NIGHTLY:-nightly}
host=$(rustc -vV | sed -n 's/^host: //p')
case $host in
x86_64-*-linux-gnu | aarch64-*-linux-gnu | *-apple-darwin) ;;
*)
    echo "skipped: there is no ThreadSanitizer for $host"
    exit 0
    ;;
esac
# An installed toolchain is not updated.
if ! cargo "+$nightly" --version >/dev/null 2>&1 &&
    ! rustup toolchain install "$nightly" --profile minimal --no-self-update; then
    echo "skipped: the toolchain $nightly, which ThreadSanitizer needs, cannot be installed"
    exit 0
fi
if ! rustup component add rust-src --toolchain "$nightly"; then
    echo "skipped: the sources of the standard library of $nightly, which ThreadSanitizer needs, cannot be installed"
    exit 0
fi

# The versions that the workspace is tested with.
cp Cargo.lock tests/races/Cargo.lock
folder=${CARGO_TARGET_DIR:-$PWD/target}/tsan
# With a target named, the flags do not reach build scripts and macros.
RUSTFLAGS=-Zsanitizer=thread cargo "+$nightly" build --quiet -Zbuild-std --manifest-path tests/races/Cargo.toml \
    --target "$host" --target-dir "$folder"
log=$folder/races.log status=0
TSAN_OPTIONS="exitcode=66" "$folder/$host/debug/mbvc-races" >"$log" 2>&1 || status=$?
grep ' threads: ' "$log" || true
races=$(grep -c '^WARNING: ThreadSanitizer: data race' "$log" || true)
echo "$races data races; the whole report: $log"
# The steps that they are in, by the number of frames.
grep -oE '[a-z0-9_]+::step_[a-z0-9_]+' "$log" | sort | uniq -c | sort -rn | head -n 20 || true
exit "$status"
