#!/usr/bin/env bash
# versions.sh REGISTRY: what README shows. Two versions of an image get their twins by one command, and podman,
# which has the first one, pulls the second one. A log of it goes to stdout, with a name instead of REGISTRY.
set -euo pipefail

registry=$1 name=registry.example.com
source=$registry/demo/app image=$registry/org/app
# The registry's certificate is in a directory for skopeo and podman, and a file for recompress.
copy=(skopeo copy --quiet --src-cert-dir=/certs --dest-cert-dir=/certs --all --preserve-digests)
for version in 1.0 1.1; do
    "${copy[@]}" "docker://$source:$version" "docker://$image:$version"
    index=$image@$(skopeo inspect --cert-dir=/certs --format '{{.Digest}}' "docker://$image:$version")
    RECOMPRESS_CA_FILE=/certs/ca.crt recompress index --twins --to "$image:$version" "$index" >/tmp/report 2>/tmp/log || {
        cat /tmp/log >&2
        exit 1
    }
done
podman pull --quiet --cert-dir=/certs "$image:1.0" >/dev/null
# To a terminal podman says how much of a layer it has already; the last words on each layer count.
script --quiet --return --command "stty cols 120 rows 40; podman pull --cert-dir=/certs $image:1.1" /dev/null \
    </dev/null >/tmp/pulled || {
    cat /tmp/pulled >&2
    exit 1
}
{
    echo "\$ skopeo copy --all --preserve-digests docker://$source:1.1 docker://$image:1.1"
    echo "\$ recompress index --twins --to $image:1.1 $index"
    cat /tmp/report
    echo "\$ podman pull $image:1.1"
    sed 's/\x1b\[[0-9;?]*[A-Za-z]//g; s/\r//g; s/ *$//' /tmp/pulled | grep --extended-regexp '^Copying blob .*(done|skipped)' |
        sort --unique
} | sed "s|$registry|$name|g"
