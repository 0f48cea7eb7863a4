#!/usr/bin/env bash
# release-check.sh DIRECTORY: install the wheel in a new environment, and have it recompress an image.
set -euo pipefail
cd "$(dirname "$0")/.."

release=$1
registry=recompress-release-$$
cleanup() {
    docker ps --all --quiet --filter "name=$registry" | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
    [[ -z ${image:-} ]] || docker image rm --force "$image" >/dev/null
}
trap cleanup EXIT

# Fetched on this side, for the Python in the container: in there no package index may be in reach.
wheels=$PWD/build/release-wheels
rm -rf "$wheels"
mkdir -p "$wheels"
python=$(docker run --rm recompress-test python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
hack/step.sh "Finding what the wheel depends on" hack/uv.sh pip compile --quiet --no-header \
    --python-version "$python" --output-file "$wheels/requirements.txt" pyproject.toml
hack/step.sh "Fetching it" .venv/bin/pip download --quiet --no-deps --only-binary :all: \
    --python-version "$python" --dest "$wheels" --requirement "$wheels/requirements.txt" "$release"/*.whl

docker run --detach --name "$registry" --publish 127.0.0.1::5000 recompress-registry >/dev/null
address=$(docker port "$registry" 5000/tcp)
image=$address/release/app:1.0
hack/images.sh "demo=$image"
hack/step.sh "Pushing $image" docker push "$image"
digest=$(docker image inspect --format '{{index .RepoDigests 0}}' "$image")
# shellcheck disable=SC2016 # the shell in the container expands it
hack/step.sh "Installing the wheel and recompressing an image with it" docker run --rm \
    --name "$registry-check" --network host --env PYTHONPATH= --volume "$wheels:/wheels:ro" recompress-test \
    bash -euc '
        python3 -m venv --without-pip /tmp/venv
        python3 -m pip --python /tmp/venv/bin/python install --quiet --no-index --find-links /wheels recompress
        cd /tmp
        /tmp/venv/bin/recompress --version
        /tmp/venv/bin/recompress run --no-tls-verify "$1"
    ' check "${image%:*}@${digest#*@}"
