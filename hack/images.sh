#!/usr/bin/env bash
# images.sh NAME…: build the images named: task, runtime, registry, test, bench, demo=IMAGE.
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

for name in "$@"; do
    case $name in
    task)
        build localhost/recompress:dev Containerfile . --build-arg \
            VERSION="$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' recompress/__init__.py)"
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
