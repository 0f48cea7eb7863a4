#!/usr/bin/env bash
# e2e.sh: run the example pipelines on the cluster with Tekton that KUBECONFIG points at.
#
# From the environment:
#   REPOSITORY     where the images go, such as registry.example.com/team/e2e, in reach of the cluster
#   TASK_IMAGE     the task image, in reach of the cluster; default: the one that the Tasks name
#   DOCKER_CONFIG  a directory with a config.json that can push to REPOSITORY; default: ~/.docker, if there
#   CA_FILE        certificates to trust for it, if the usual ones do not do
#   SBOM           1: the built images get SBOMs, and their twins have to get theirs
#   NAMESPACE      a namespace to use and leave; default: a new one, removed in the end
#
# Where the cluster has Tekton Chains, everything in the index has to have a signature and an attestation in
# the registry. The service account of the runs has the credentials for it, for Chains takes them from there.
#
# Exit status: 1 a pipeline failed, 2 something to start with is missing, 3 no cluster that can run them.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    printf 'e2e: %s\n' "$2" >&2
    exit "$1"
}

check_environment() {
    command -v kubectl >/dev/null || fail 2 "kubectl is not installed"
    [[ -n ${KUBECONFIG:-} ]] || fail 2 "KUBECONFIG is not set: there is no cluster to run on"
    [[ -n ${REPOSITORY:-} ]] || fail 2 "REPOSITORY is not set: name a repository that the cluster can push to"
    if [[ -z ${TASK_IMAGE:-} ]] && grep -q 'image: localhost/' task.yaml; then
        fail 2 "TASK_IMAGE is not set: build the task image with \"make image\" and push it to where the cluster finds it"
    fi
}

check_cluster() {
    kubectl get --raw /readyz --request-timeout 15s >/dev/null 2>&1 ||
        fail 3 "the cluster of $KUBECONFIG does not answer"
    kubectl get crd pipelines.tekton.dev >/dev/null 2>&1 ||
        fail 3 "the cluster has no Tekton Pipelines: https://tekton.dev/docs/installation/pipelines/"
    local info='{range .items[?(@.metadata.name=="pipelines-info")]}{.data.version}{end}' version
    version=$(kubectl get configmaps --all-namespaces --output "jsonpath=$info")
    version=${version#v}
    [[ ${version%%.*} =~ ^[1-9] ]] ||
        fail 3 "the cluster has Tekton Pipelines ${version:-of an unknown version}, and 1.0.0 is needed: see examples/README.md"
    local flags='{range .items[?(@.metadata.name=="feature-flags")]}{.data.enable-api-fields}{end}'
    [[ $(kubectl get configmaps --all-namespaces --output "jsonpath=$flags") != stable ]] ||
        fail 3 "the cluster's feature flag enable-api-fields is \"stable\", and a matrix needs \"beta\": see examples/README.md"
    echo "  Tekton Pipelines $version"
    local chains='{range .items[?(@.metadata.name=="tekton-chains-controller")]}true{end}'
    has_chains=$(kubectl get deployments --all-namespaces --output "jsonpath=$chains")
    echo "  Tekton Chains: ${has_chains:-not there, so that nothing is signed}"
}

prepare_namespace() {
    if [[ -z ${NAMESPACE:-} ]]; then
        namespace=recompress-e2e-$RANDOM
        kubectl create namespace "$namespace" >/dev/null
        trap 'kubectl delete namespace "$namespace" --wait=false >/dev/null' EXIT
        # The build of the example starts a user namespace: see examples/build-image.yaml.
        kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=privileged >/dev/null
    else
        namespace=$NAMESPACE
    fi
    echo "  namespace $namespace"
    local config=${DOCKER_CONFIG:-$HOME/.docker}/config.json secrets='[]'
    if [[ -f $config ]]; then
        apply_from_file secret generic e2e-docker-config config.json "$config"
        workspaces='[{"name": "dockerconfig", "secret": {"secretName": "e2e-docker-config"}}]'
        apply_from_file secret generic --type=kubernetes.io/dockerconfigjson e2e-chains .dockerconfigjson "$config"
        secrets='[{"name": "e2e-chains"}]'
    fi
    apply >/dev/null <<END
{
  "apiVersion": "v1",
  "kind": "ServiceAccount",
  "metadata": {"name": "recompress-e2e"},
  "secrets": $secrets,
  "imagePullSecrets": $secrets
}
END
    if [[ -n ${CA_FILE:-} ]]; then
        apply_from_file configmap trusted-ca ca-bundle.crt "$CA_FILE"
    fi
    local file
    for file in task.yaml index-task.yaml hack/e2e/*.yaml \
        examples/build-image.yaml examples/{existing-index,multi-arch}-pipeline.yaml; do
        sed "s|image: localhost/recompress:.*|image: ${TASK_IMAGE:-$(released_image)}|" "$file" | apply >/dev/null
    done
}

# The image that the Tasks name.
released_image() {
    sed -n 's/^ *image: //p' task.yaml
}

apply() {
    kubectl apply --namespace "$namespace" --filename -
}

# apply_from_file KIND… NAME KEY FILE
apply_from_file() {
    kubectl create "${@:1:$#-2}" --namespace "$namespace" --from-file="${*: -2:1}=${*: -1}" \
        --dry-run=client --output yaml | apply >/dev/null
}

# run KIND NAME PARAM=VALUE…: run a Pipeline or a Task; print the digest of the image that it made.
run() {
    local kind=$1 what=$2 params='' param name status
    shift 2
    for param in "$@"; do
        params+="${params:+, }{\"name\": \"${param%%=*}\", \"value\": \"${param#*=}\"}"
    done
    local more='"serviceAccountName": "recompress-e2e", "timeout": "10m"'
    if [[ $kind == Pipeline ]]; then
        more='"taskRunTemplate": {"serviceAccountName": "recompress-e2e"}, "timeouts": {"pipeline": "30m"}'
    fi
    name=$(kubectl create --namespace "$namespace" --output name --filename - <<END
{
  "apiVersion": "tekton.dev/v1",
  "kind": "${kind}Run",
  "metadata": {"generateName": "$what-"},
  "spec": {
    "${kind,}Ref": {"name": "$what"},
    "params": [$params],
    "workspaces": ${workspaces:-[]},
    $more
  }
}
END
    )
    echo "  $name" >&2
    while status=$(of "$name" '{.status.conditions[0].status}') && [[ $status != True ]]; do
        if [[ $status == False ]]; then
            of "$name" '{.status.conditions[0].message}{"\n"}' >&2
            kubectl logs --namespace "$namespace" --all-containers --prefix --tail 30 \
                --selector "tekton.dev/${kind,}Run=${name#*/}" >&2 || true
            fail 1 "$name failed"
        fi
        sleep "${POLL_SECONDS:-5}"
    done
    of "$name" '{.status.results[?(@.name=="IMAGE_DIGEST")].value}'
}

of() {
    kubectl get --namespace "$namespace" "$1" --output "jsonpath=$2"
}

check_environment
check_cluster
prepare_namespace
first=$(run Pipeline multi-arch "IMAGE=$REPOSITORY:e2e")
echo "  $REPOSITORY:e2e@$first"
has_sboms=false
if [[ ${SBOM:-0} == 1 ]]; then
    has_sboms=true
    run Task e2e-sbom "IMAGE=$REPOSITORY@$first" >/dev/null
fi
# Every twin is there already and every entry in its place: the index must be the same, byte for byte.
second=$(run Pipeline existing-index "IMAGE=$REPOSITORY:e2e@$first" "TO=$REPOSITORY:e2e-again")
[[ $second == "$first" ]] || fail 1 "the index made of $first is not the same, but $second"
echo "  both pipelines succeeded"
if [[ $has_chains == true || $has_sboms == true ]]; then
    run Task e2e-check "IMAGE=$REPOSITORY@$first" "SIGNED=${has_chains:-false}" "SBOM=$has_sboms" >/dev/null
    [[ $has_chains != true ]] || echo "  everything in the index has a signature and an attestation"
    [[ $has_sboms != true ]] || echo "  every twin has an SBOM"
fi
