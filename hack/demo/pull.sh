#!/usr/bin/env bash
# pull.sh TWIN IMAGE_ID: pull the twin with podman, say how, and compare it with the gzip image.
set -euo pipefail

twin=$1 expected=$2
podman --log-level=debug pull --cert-dir=/certs "$twin" >/tmp/id 2>/tmp/log || {
    cat /tmp/log >&2
    exit 1
}
echo "  layers pulled partially: $(grep --count 'Retrieved partial blob' /tmp/log)"
echo "  image ID of the gzip image:  $expected"
echo "  image ID of its twin:        sha256:$(</tmp/id)"
[[ sha256:$(</tmp/id) == "$expected" ]] || {
    echo "podman took another image than the twin" >&2
    exit 1
}

root=$(podman image mount "$twin")
echo "  a file of it: /app/greeting: $(<"$root/app/greeting")"
