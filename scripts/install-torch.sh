#!/usr/bin/env bash
# Installs PyTorch and its model libraries, for the CPU alone, beside requirements-slow.txt: install-torch.sh PYTHON
set -euo pipefail
cd "$(dirname "$0")"

python=$1
"$python" -m pip install -q --disable-pip-version-check --retries 5 --no-deps -r requirements-torch.txt
"$python" torch_without_gpu.py
