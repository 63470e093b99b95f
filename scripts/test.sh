#!/usr/bin/env bash
# Formatting, lints, documentation and the everyday tests of the workspace. Stops at the first failure.
#
# Tests against other engines need `pip install -r scripts/requirements.txt`, and tests on real weights the shared
# data (MBVC_SHARED, by default ../shared); without them they say that they are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all --check
cargo fmt --manifest-path tests/embedded/Cargo.toml --check
cargo fmt --manifest-path examples/embedded/Cargo.toml --check
cargo fmt --manifest-path benches/embedded/Cargo.toml --check
cargo fmt --manifest-path fuzz/Cargo.toml --check
cargo fmt --manifest-path python/Cargo.toml --check
cargo fmt --manifest-path datafusion/Cargo.toml --check
cargo fmt --manifest-path tests/races/Cargo.toml --check
cargo fmt --manifest-path benches/peers/rust_engines/Cargo.toml --check
# Without examples and benchmarks, whose networks take long: `.ci/slow` checks and builds them.
cargo clippy --workspace --lib --bins --tests -- -D warnings
# The features that no default build has.
cargo clippy -p mbvc-runtime --no-default-features -- -D warnings
cargo clippy -p mbvc-runtime --no-default-features --features alloc -- -D warnings
# Only libraries, without the networks of tests: the command's documentation would overwrite that of the crate with the same name.
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --exclude mbvc-test-networks --lib --no-deps
cargo test --workspace --tests
cargo test --workspace --doc
