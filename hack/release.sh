#!/usr/bin/env bash
# release.sh: make all files of a release in build/release, and check them. Nothing is published.
#
# RELEASE_IMAGE is where the task image will be pushed, as registry/repository: the Tasks name it by digest.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "make release: $*" >&2
    exit 2
}

repository=${RELEASE_IMAGE:-}
[[ $repository =~ ^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$ ]] ||
    fail "name the repository of the task image: RELEASE_IMAGE=registry/repository"
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' recompress/__init__.py)
grep -qE "^## \[$version\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md ||
    fail "CHANGELOG.md has no section \"## [$version] - YYYY-MM-DD\""
[[ -z $(git status --porcelain) ]] || fail "there are uncommitted changes"

out=$PWD/build/release
rm -rf "$out"
mkdir -p "$out"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
hack/step.sh "Building wheel and sdist" hack/uv.sh build --out-dir "$out"
rm -f "$out/.gitignore"

hack/images.sh task registry test
# The digest is that of the files that will be pushed, so that the Tasks can name it before.
docker save localhost/recompress:dev --output "$out/docker.tar"
hack/step.sh "Packing the task image" docker run --rm --volume "$out:/out" --entrypoint skopeo \
    --user "$(id -u)" --workdir /out --env TMPDIR=/out localhost/recompress:dev \
    --insecure-policy copy --digestfile digest docker-archive:docker.tar "oci-archive:recompress-$version.tar"
rm "$out/docker.tar"
digest=$(<"$out/digest")
cp task.yaml index-task.yaml "$out/"
hack/pin.sh "$repository:$version@$digest" "$out/task.yaml" "$out/index-task.yaml"
hack/sbom.sh
cp build/sbom/recompress.cdx.json "$out/"
hack/release-check.sh "$out"
(cd "$out" && rm digest && sha256sum -- * > SHA256SUMS)

cat <<END

All of version $version is in build/release. To publish it:
  skopeo copy --preserve-digests oci-archive:build/release/recompress-$version.tar docker://$repository:$version
  git tag --sign v$version && git push origin v$version
  and add the other files of build/release to the release
END
