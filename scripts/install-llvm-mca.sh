#!/usr/bin/env bash
# Installs the newest llvm-mca of Debian, as root: `tests/assembly/` predicts loops with it.
set -euo pipefail

export DEBIAN_FRONTEND=noninteractive
newest() {
    apt-cache search --names-only '^llvm-[0-9]+$' | sed 's/^llvm-\([0-9]*\) .*/\1/' | sort -n | tail -1
}
version=$(newest)
if [ -n "$version" ] && command -v "llvm-mca-$version" >/dev/null; then
    exit 0
fi
apt-get -o Acquire::Retries=3 update -q
version=$(newest)
if [ -z "$version" ]; then
    echo "scripts/install-llvm-mca.sh: the package sources have no llvm" >&2
    exit 1
fi
apt-get -o Acquire::Retries=3 install -y -q --no-install-recommends "llvm-$version"
