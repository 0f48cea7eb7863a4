#!/usr/bin/env bash
# fuzz.sh [LIBFUZZER OPTION…]: fuzz each target of tests/fuzz/targets.py, a minute each unless
# -max_total_time=SECONDS says otherwise. Corpora stay in build/fuzz, so that the next run goes on from there.
set -euo pipefail
cd "$(dirname "$0")/.."

hack/venv.sh
if ! .venv/bin/python -c 'import atheris' 2>/dev/null; then
    # Built from source it would need clang.
    hack/step.sh "Installing atheris" .venv/bin/pip install --disable-pip-version-check --progress-bar off \
        --only-binary :all: --require-hashes --requirement requirements-fuzz.txt || {
        if grep -q "No matching distribution" build/log/Installing-atheris.log; then
            echo "atheris has no wheel for $(.venv/bin/python -V) on $(uname -sm): nothing was fuzzed" >&2
        fi
        exit 1
    }
fi

findings=build/fuzz/findings
mkdir -p "$findings"
for target in $(.venv/bin/python -c 'from tests.fuzz.targets import TARGETS; print(*TARGETS)'); do
    hack/step.sh "Fuzzing $target" .venv/bin/python -m tests.fuzz.fuzz "$target" \
        -artifact_prefix="$findings/$target-" -max_total_time=60 "$@"
    sed -n 's/^Done/    Done/p' "build/log/Fuzzing-${target//_/-}.log"
done
