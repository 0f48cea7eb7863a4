#!/usr/bin/env bash
# venv.sh: make .venv, with what requirements-dev.txt pins, unless it is there and up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

cmp -s requirements-dev.txt .venv/requirements-dev.txt && exit

# The oldest Python that is supported, where it is there: the tests' container has a new one.
python=${PYTHON:-$(command -v python3.11 || echo python3)}
# Debian's python3 comes without ensurepip.
"$python" -c 'import ensurepip' 2>/dev/null || hack/apt-install.sh python3 python3-venv
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed; PYTHON=… names another one" >&2
    exit 1
}
"$python" -m venv --clear .venv
hack/step.sh "Installing Python packages" .venv/bin/pip install --disable-pip-version-check --progress-bar off \
    --require-hashes --requirement requirements-dev.txt
cp requirements-dev.txt .venv/
