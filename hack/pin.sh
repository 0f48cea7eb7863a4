#!/usr/bin/env bash
# pin.sh IMAGE [FILE…]: make Tasks, by default both here, name the task image of a release, by digest, and the
# release's version.
set -euo pipefail
cd "$(dirname "$0")/.."

image=${1:-}
[[ $image =~ ^[a-z0-9./:_-]+@sha256:[0-9a-f]{64}$ ]] || {
    echo "usage: make pin IMAGE=registry/repository[:tag]@sha256:<64 hex digits>" >&2
    exit 2
}
files=("${@:2}")
((${#files[@]})) || files=(task.yaml index-task.yaml)
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' recompress/__init__.py)
sed -i -E \
    -e "s|^( +image: ).*|\1$image|" \
    -e "s|^( +app.kubernetes.io/version: ).*|\1\"$version\"|" "${files[@]}"
grep -nF -e "$image" -e "$version" "${files[@]}"
