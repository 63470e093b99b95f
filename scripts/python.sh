#!/usr/bin/env bash
# Builds the wheel of the Python package, installs it into a virtual environment, and runs its tests.
#
#     scripts/python.sh           the quick tests
#     scripts/python.sh --ray     also those on a Ray cluster of two nodes on this machine
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${CARGO_TARGET_DIR:-$PWD/target}/python
build=$folder/build-env test=$folder/test-env
mkdir -p "$folder"

# An environment with the packages of the given requirement files.
environment() {
    local venv=$1
    shift
    cat "$@" | cmp -s - "$venv/installed" && return
    rm -rf "$venv"
    python3 -m venv "$venv" &&
        "$venv/bin/pip" install -q --disable-pip-version-check --retries 5 "${@/#/-r}" &&
        cat "$@" >"$venv/installed"
}

environment "$build" python/requirements-build.txt
environment "$test" scripts/requirements.txt python/requirements-test.txt

# Without the published networks, which take minutes: lints need none.
cargo clippy --manifest-path python/Cargo.toml --target-dir "$folder" --no-default-features -- -D warnings
rm -rf "$folder/wheels"
"$build/bin/maturin" build --release --manifest-path python/Cargo.toml --target-dir "$folder" --out "$folder/wheels"
ls -l "$folder"/wheels/*.whl

check() {
    local venv=$1
    shift
    "$venv/bin/pip" install -q --disable-pip-version-check --force-reinstall --no-deps "$folder"/wheels/*.whl
    "$venv/bin/python" -m pytest -q "$@"
}

"$test/bin/python" -m mypy --strict --ignore-missing-imports python/mbvc
check "$test" python/tests --ignore python/tests/ray
if [ "${1:-}" = --ray ]; then
    if environment "$folder/ray-env" scripts/requirements.txt python/requirements-test.txt python/requirements-ray.txt; then
        MBVC_REQUIRE_RAY=1 check "$folder/ray-env" python/tests/ray
    else
        echo "python/requirements-ray.txt cannot be installed: the tests on a cluster are skipped"
    fi
fi
