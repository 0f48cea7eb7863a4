#!/usr/bin/env bash
# pins.sh: renew every pinned version. What there is to pin stands in the dependency groups of pyproject.toml.
set -euo pipefail
cd "$(dirname "$0")/.."

for file in requirements-*.txt; do
    # The command that makes a file stands in its second line.
    read -ra command <<< "$(sed -n '2s/^# *uv //p' "$file")"
    hack/step.sh "Renewing $file" hack/uv.sh "${command[@]}" --upgrade
done
git diff --stat -- 'requirements-*.txt'
