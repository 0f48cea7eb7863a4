#!/usr/bin/env bash
# apt-install.sh PACKAGE…: install what of these Debian packages is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
for package in "$@"; do
    [[ $(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
        missing+=("$package")
done
((${#missing[@]})) || exit 0

if ((EUID)); then
    echo "Not root, and these packages are missing: apt-get install ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # APT_OPTIONS is a list of words
hack/step.sh "apt-get update" apt-get ${APT_OPTIONS:-} update
# shellcheck disable=SC2086
hack/step.sh "Installing ${missing[*]}" \
    apt-get ${APT_OPTIONS:-} install --yes --no-install-recommends "${missing[@]}"
