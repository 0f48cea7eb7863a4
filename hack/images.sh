#!/usr/bin/env bash
# images.sh NAME…: build the images named: task, runtime, registry, test, bench, demo=IMAGE.
#
# SOURCE, a URL, is where people find the task image's source; its labels say so.
set -euo pipefail
cd "$(dirname "$0")/.."

base=$(hack/base-image.sh)
if [[ $base == recompress-base:* ]]; then
    # This base was made from a mirror that may be past its date: see base-image.sh.
    APT_OPTIONS=${APT_OPTIONS:--o Acquire::Check-Valid-Until=false}
fi

build() {
    local image=$1 containerfile=$2 context=$3
    shift 3
    hack/step.sh "Building $image" docker build --file "$containerfile" --tag "$image" \
        --build-arg BASE_IMAGE="$base" --build-arg APT_OPTIONS="${APT_OPTIONS:-}" "$@" "$context"
}

wheels() {
    # Fetched on this side: an image build knows neither the package index nor the certificates that
    # are set up here.
    mkdir -p build/wheels
    # With its hashes, which stand in the lines below it.
    sed -n '/^testcontainers==/,/[^\\]$/p' requirements-dev.txt > build/wheels.txt
    hack/step.sh "Fetching wheels" .venv/bin/pip download --quiet --no-deps --only-binary :all: \
        --require-hashes --dest build/wheels --requirement build/wheels.txt
}

# label NAME VALUE: an option for the build, unless the value is not known.
label() {
    [[ -z $2 ]] || labels+=(--label "org.opencontainers.image.$1=$2")
}

# What the labels of the OCI image specification say of an image depends on the revision alone: it has the
# time of its commit, not of the build.
labels() {
    labels=()
    label version "$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' recompress/__init__.py)"
    label revision "$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)"
    label created "$(TZ=UTC git log -1 --date=format-local:%FT%TZ --format=%cd 2>/dev/null)"
    label source "${SOURCE:-}"
    label url "${SOURCE:-}"
    local digest
    digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$base" | sed -n '1s/.*@//p')
    if [[ -n $digest ]]; then
        label base.name "${base%@*}"
        label base.digest "$digest"
    fi
}

for name in "$@"; do
    case $name in
    task)
        labels
        build localhost/recompress:dev Containerfile . "${labels[@]}"
        ;;
    runtime) build recompress-runtime Containerfile . --target runtime ;;
    registry) build recompress-registry tests/registry.Containerfile tests ;;
    demo=*) build "${name#*=}" hack/demo/Containerfile hack/demo ;;
    bench) build recompress-bench bench/Containerfile bench ;;
    test)
        hack/venv.sh
        "$0" runtime
        wheels
        build recompress-test tests/Containerfile build/wheels
        ;;
    *)
        echo "images.sh: there is no image $name" >&2
        exit 2
        ;;
    esac
done
