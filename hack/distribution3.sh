#!/usr/bin/env bash
# distribution3.sh: build CNCF Distribution 3 into build/distribution3/registry, where Go is at hand.
#
# Debian has version 2.8 only. tests/soak.py runs against both where it finds it. The version is fixed, and Go
# compares what it fetches with the checksum database.
set -euo pipefail
cd "$(dirname "$0")/.."

version=v3.1.2
place=build/distribution3
if [[ -x $place/$version/registry ]]; then
    exit
fi
if ! command -v go >/dev/null; then
    echo "  Go is not installed: CNCF Distribution 3 is left out" >&2
    exit
fi
# Static: it runs in the tests' container, on another system than this one.
CGO_ENABLED=0 GOBIN=$PWD/$place/$version hack/step.sh "Building CNCF Distribution $version" \
    go install "github.com/distribution/distribution/v3/cmd/registry@$version"
ln -sfn "$version/registry" "$place/registry"
