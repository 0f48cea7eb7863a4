#!/usr/bin/env bash
# uv.sh ARGUMENT…: uv in the version that requirements-release.txt pins, installed where it is not there.
set -euo pipefail
cd "$(dirname "$0")/.."

place=build/uv
if ! cmp -s requirements-release.txt "$place/requirements-release.txt"; then
    hack/venv.sh
    .venv/bin/python -m venv --clear "$place"
    hack/step.sh "Installing uv" "$place/bin/pip" install --disable-pip-version-check --progress-bar off \
        --require-hashes --requirement requirements-release.txt
    cp requirements-release.txt "$place/"
fi
exec "$place/bin/uv" "$@"
