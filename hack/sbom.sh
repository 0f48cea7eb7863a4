#!/usr/bin/env bash
# sbom.sh: what is in the task image, as CycloneDX in build/sbom, and what is known to be wrong with it.
#
# The list needs nothing but the image. What is known to be wrong is asked of Debian's security tracker
# (debsecan) and of PyPI (pip-audit, for what tests and lint use): without them, that is said.
set -euo pipefail
cd "$(dirname "$0")/.."

image=${TASK_IMAGE:-localhost/recompress:dev}
out=build/sbom
[[ -n ${TASK_IMAGE:-} ]] || hack/images.sh task
hack/venv.sh
if ! cmp -s requirements-sbom.txt "$out/venv/requirements-sbom.txt"; then
    .venv/bin/python -m venv --clear "$out/venv"
    hack/step.sh "Installing debsbom and pip-audit" "$out/venv/bin/pip" install --disable-pip-version-check \
        --progress-bar off --require-hashes --requirement requirements-sbom.txt
    cp requirements-sbom.txt "$out/venv/"
fi

container=$(docker create "$image")
trap 'docker rm "$container" >/dev/null' EXIT
docker export "$container" |
    "$out/venv/bin/debsbom" generate --root - --sbom-type cdx --distro-name recompress --out "$out/recompress" \
        2> >(grep -v 'WARNING:.*no supplier for' >&2)
"$out/venv/bin/python" -c '
import json, sys
components = json.load(open(sys.argv[1]))["components"]
print(f"{sys.argv[1]}: {len(components)} components")
' "$out/recompress.cdx.json"

hack/apt-install.sh debsecan
docker cp "$container:/var/lib/dpkg/status" "$out/status"
suite=$(docker run --rm --entrypoint sed "$image" -n 's/^VERSION_CODENAME=//p' /etc/os-release)
missing=0
debsecan --suite "$suite" --status "$out/status" > "$out/debian-vulnerabilities.txt" 2> "$out/debsecan.log" || missing=1
if ((missing)); then
    echo "Debian's security tracker cannot be reached, so nothing is known of vulnerabilities in the image:" >&2
    tail -n 1 "$out/debsecan.log" >&2
else
    echo "$out/debian-vulnerabilities.txt: $(wc -l < "$out/debian-vulnerabilities.txt") entries"
fi
"$out/venv/bin/pip-audit" --disable-pip --require-hashes --requirement requirements-dev.txt \
    > "$out/python-vulnerabilities.txt" 2>&1 || true
if grep -q "could not be audited" "$out/python-vulnerabilities.txt"; then
    echo "PyPI's own service cannot be reached, so some packages of the tests could not be audited" >&2
else
    cat "$out/python-vulnerabilities.txt"
fi
