#!/usr/bin/env bash
# clean.sh: remove all that was made here: files, and images where there is an engine.
set -euo pipefail
cd "$(dirname "$0")/.."

if docker info >/dev/null 2>&1; then
    for image in localhost/recompress:dev recompress-{bench,test,registry,runtime,base:forky}; do
        [[ -z $(docker image ls --quiet "$image") ]] || docker image rm "$image" >/dev/null || true
    done
    # Those that newer ones have taken the name of.
    docker image prune --force --filter label=org.opencontainers.image.title=recompress >/dev/null
fi
rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache .hypothesis ./*.egg-info
find . -name __pycache__ -prune -exec rm -rf {} +
