#!/usr/bin/env bash
# demo.sh: the whole way once, with a real registry, a real builder and a real client.
set -euo pipefail
cd "$(dirname "$0")/.."

heading() { printf '\n== %s\n\n' "$*"; }

heading "What is needed"
hack/venv.sh
hack/images.sh registry task test

work=$PWD/build/demo
rm -rf "$work"
mkdir -p "$work/certs"
registry=recompress-demo-$$
cleanup() {
    docker rm --force --volumes "$registry" "$registry-client" >/dev/null 2>&1 || true
    [[ -z ${image:-} ]] || docker image rm "$image" "${image%:*}:1.1" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT

heading "1. A registry, with a certificate that only the Task's trusted-ca ConfigMap knows"
hack/step.sh "Making the certificate" docker run --rm --volume "$work/certs:/certs" recompress-registry \
    openssl req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
    -keyout /certs/key.pem -out /certs/ca.crt \
    -subj "/CN=demo registry" -addext subjectAltName=IP:127.0.0.1 \
    -addext keyUsage=critical,digitalSignature,keyCertSign
docker run --detach --name "$registry" --publish 127.0.0.1::5000 --volume "$work/certs:/certs:ro" \
    --env REGISTRY_HTTP_TLS_CERTIFICATE=/certs/ca.crt --env REGISTRY_HTTP_TLS_KEY=/certs/key.pem \
    recompress-registry >/dev/null
address=$(docker port "$registry" 5000/tcp)
echo "  CNCF Distribution, https://$address"

heading "2. An image, built and pushed by Docker"
image=$address/demo/app:1.0
hack/images.sh "demo=$image"
hack/step.sh "Pushing $image" docker push "$image"
source=$image@$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image" |
    sed -n "s|^$address/demo/app@||p")
echo "  $source"

heading "3. The step of task.yaml, run as Tekton runs it"
.venv/bin/python -m tests.taskrun --work "$work/task" --image localhost/recompress:dev \
    --ca "$work/certs/ca.crt" --docker=--network=host "IMAGE=$source" PLATFORM=linux/amd64

heading "4. The results: Tekton Chains signs the first two, the third goes into the image index"
for result in IMAGE_URL IMAGE_DIGEST IMAGE_REF; do
    printf '  %-12s  %s\n' "$result" "$(<"$work/task/results/$result")"
done

heading "5. podman pulls the twin, partially, and finds the same image"
docker run --rm --name "$registry-client" --network host \
    --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    --volume "$PWD/hack/demo/pull.sh:/pull.sh:ro" --volume "$work/certs/ca.crt:/certs/ca.crt:ro" \
    recompress-test /pull.sh "$(<"$work/task/results/IMAGE_REF")" \
    "$(docker image inspect --format '{{.Id}}' "$image")"

heading "6. Without a pipeline: a second version, one command, and what podman pulls of it"
again=${image%:*}:1.1
hack/images.sh "demo-again=$again"
hack/step.sh "Pushing $again" docker push "$again"
docker run --rm --name "$registry-client" --network host \
    --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    --volume "$PWD:/src:ro" --volume "$work/certs:/certs:ro" \
    recompress-test hack/demo/versions.sh "$address" | tee build/demo.txt

# README has the output of an earlier run: the same but for digests and figures.
shape() { sed -E 's/[0-9a-f]{12,}/N/g; s/[0-9]+(\.[0-9]+)?(b|KiB|MiB|%)?/N/g; s/ +/ /g' | sort; }
in_readme() { sed -n '/<!-- demo -->/,/<!-- \/demo -->/p' README.md | sed 1,2d | head --lines=-2; }
diff <(in_readme | shape) <(shape <build/demo.txt) || {
    echo "README.md shows a different output: put build/demo.txt there, between the demo marks" >&2
    exit 1
}
