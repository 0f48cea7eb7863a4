#!/usr/bin/env bash
# regctl.sh: build regctl into build/regctl/, where Go is at hand. No package of it is in Debian.
#
# The version is fixed, and Go compares what it fetches with the checksum database.
set -euo pipefail
cd "$(dirname "$0")/.."

version=v0.11.7
place=build/regctl
mkdir -p "$place"
if [[ -x $place/$version/regctl ]]; then
    exit
fi
if ! command -v go >/dev/null; then
    echo "  There is no Go, so no regctl" >&2
    exit
fi
# Static: it runs in a container, on another system than this one.
CGO_ENABLED=0 GOBIN=$PWD/$place/$version hack/step.sh "Building regctl $version" \
    go install "github.com/regclient/regclient/cmd/regctl@$version"
ln -sfn "$version/regctl" "$place/regctl"
