#!/usr/bin/env bash
# bench.sh [OPTION…]: run bench.py in the container of the tests, against a registry of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

hack/images.sh registry test
mkdir -p build/tmp
work=$(mktemp -d "$PWD/build/tmp/bench-XXXXXX")
registry=$(docker run --rm --detach --publish 127.0.0.1::5000 recompress-registry)
cleanup() {
    docker rm --force --volumes "$registry" >/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
address=$(docker port "$registry" 5000/tcp | head -n 1)

# As in the task image, what Python compiles is compiled once: the first call does it here.
docker run --rm --init --network host --volume /var/run/docker.sock:/var/run/docker.sock \
    --volume "$PWD:/src:ro" --volume "$work:$work" --env TMPDIR="$work" \
    --env PYTHONDONTWRITEBYTECODE= --env PYTHONPYCACHEPREFIX="$work/pycache" \
    recompress-test python3 -m bench.bench --registry "$address" --work "$work" "$@"
