#!/usr/bin/env bash
# bench.sh [--rounds N] [NAME…]: run benchmarks in a container of their own; build/bench/results.json has the results.
set -euo pipefail
cd "$(dirname "$0")/.."

base=$(hack/base-image.sh)
hack/images.sh registry test bench
bench/regctl.sh

mkdir -p build/tmp build/bench
tmp=$(mktemp -d "$PWD/build/tmp/XXXXXX")
label=recompress.bench=${tmp##*/}
cleanup() {
    docker ps --all --quiet --filter "label=$label" | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
    docker image prune --all --force --filter "label=$label" >/dev/null
    rm -rf "$tmp"
}
trap cleanup EXIT
# The container is that of the tests (hack/test.sh), with more to compare with.
# As in the task image, what Python compiles is compiled once: the first call does it here.
docker run --rm --init --label "$label" \
    --network host --volume /var/run/docker.sock:/var/run/docker.sock \
    --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    --volume "$PWD:/src:ro" --volume "$tmp:$tmp" --env TMPDIR="$tmp" \
    --volume "$PWD/build/bench:/src/build/bench" \
    --env PATH="/src/build/regctl:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    --env PYTHONDONTWRITEBYTECODE= --env PYTHONPYCACHEPREFIX="$tmp/pycache" \
    --env TEST_BASE_IMAGE="$base" --env TEST_LABEL="$label" --env APT_OPTIONS \
    recompress-bench python3 -m bench.bench "$@"
