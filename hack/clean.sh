#!/usr/bin/env bash
# clean.sh: remove all that was made here: files, and images where there is an engine.
set -euo pipefail
cd "$(dirname "$0")/.."

if docker info >/dev/null 2>&1; then
    docker image rm localhost/recompress:dev recompress-{bench,test,registry,runtime,base:forky} \
        >/dev/null 2>&1 || true
    # Those that newer ones have taken the name of.
    docker image prune --force --filter label=org.opencontainers.image.title=recompress >/dev/null
fi
rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache .hypothesis ./*.egg-info
find . -name __pycache__ -prune -exec rm -rf {} +
