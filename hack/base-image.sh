#!/usr/bin/env bash
# base-image.sh: print the name of a base image that is here, having pulled or made it.
#
# BASE_IMAGE names another one. Where no image registry can be reached, the image is made out of
# Debian packages, from DEBIAN_MIRROR.
set -euo pipefail
cd "$(dirname "$0")/.."

official=docker.io/library/debian:forky-slim
bootstrapped=recompress-base:forky

bootstrap() {
    # What Debian's own slim image leaves out. dpkg keeps to it in all that is installed later.
    local excluded=(/usr/share/doc/\* /usr/share/info/\* /usr/share/locale/\* /usr/share/man/\*)
    # Without a registry there is often only a mirror that is not up to date, and then forky's Release
    # file is past its date. The signature is checked all the same.
    # shellcheck disable=SC2016 # mmdebstrap expands $1, the root of the new system
    mmdebstrap --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
        "${excluded[@]/#/--dpkgopt=path-exclude=}" \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --customize-hook='rm "$1/etc/apt/apt.conf.d/99mmdebstrap"' \
        forky - "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" |
        docker import - "$bootstrapped"
}

if [[ ${1:-} == --bootstrap ]]; then
    bootstrap
    exit
fi

for image in ${BASE_IMAGE:-"$bootstrapped" "$official"}; do
    if docker image inspect "$image" >/dev/null 2>&1; then
        echo "$image"
        exit
    fi
done
echo "  Pulling ${BASE_IMAGE:-$official}" >&2
if hack/heartbeat.sh timeout 120 docker pull "${BASE_IMAGE:-$official}" >&2; then
    echo "${BASE_IMAGE:-$official}"
    exit
elif [[ -n ${BASE_IMAGE:-} ]]; then
    exit 1
fi
echo "  No registry can be reached: making a base image from Debian packages" >&2
hack/apt-install.sh mmdebstrap debian-archive-keyring
hack/step.sh "Making $bootstrapped" hack/base-image.sh --bootstrap
echo "$bootstrapped"
