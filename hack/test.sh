#!/usr/bin/env bash
# test.sh [PYTEST ARGUMENT…]: run tests in the container made for them, or another module of Python.
#
# They start registries and the task image with the host's container engine. The label in TEST_LABEL is
# on all that they leave there, and by it all is removed in the end.
set -euo pipefail
cd "$(dirname "$0")/.."

base=$(hack/base-image.sh)
hack/images.sh task registry test

mkdir -p build/tmp build/differential
tmp=$(mktemp -d "$PWD/build/tmp/XXXXXX")
label=recompress.test-run=${tmp##*/}
cleanup() {
    docker ps --all --quiet --filter "label=$label" | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
    docker image prune --all --force --filter "label=$label" >/dev/null
    rm -rf "$tmp"
}
trap cleanup EXIT

# SYS_ADMIN: podman and buildah mount overlays. No more than that: in the host's network, a capability
# for it would be one to break it.
# TMPDIR: what is mounted into containers must have one path on both sides.
# build/differential: a run that was interrupted goes on by what is there.
hack/heartbeat.sh docker run --rm --init --label "$label" \
    --network host --volume /var/run/docker.sock:/var/run/docker.sock \
    --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    --volume "$PWD:/src:ro" --volume "$tmp:$tmp" --env TMPDIR="$tmp" \
    --volume "$PWD/build/differential:/src/build/differential" \
    --env TEST_BASE_IMAGE="$base" --env TEST_LABEL="$label" \
    recompress-test python3 -m "${TEST_MODULE:-pytest}" "$@"
