#!/usr/bin/env bash
# Builds the image with a binary that scripts/build-musl.sh makes, or that BINARY names: where no base image can be pulled,
# and for the tests. It is the Dockerfile's own final stage; only the binary comes from elsewhere.
#
#   scripts/image.sh TAG [DOCKER BUILD ARGUMENTS]
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
largest=$((3 * 1000 * 1000))

tag=${1:?the name of the image}
shift
binary=${BINARY:-$("$repository/scripts/build-musl.sh")}
context=$(mktemp -d)
trap 'rm -rf -- "${context:?}"' EXIT
install -m 755 "$binary" "$context/snapshotter"
# DOCKER_BUILDKIT=0: it needs no BuildKit, and not every client has it.
DOCKER_BUILDKIT=0 docker build --quiet --network none --force-rm --file "$repository/Dockerfile" --target prebuilt --tag "$tag" \
  --build-arg BINARY=snapshotter \
  --build-arg REVISION="$(git -C "$repository" rev-parse HEAD 2>/dev/null || echo unknown)" \
  "$@" "$context" >&2
size=$(docker image inspect --format '{{.Size}}' "$tag")
if [ "$size" -gt "$largest" ]; then
  echo "$tag has $size bytes, more than $largest" >&2
  exit 1
fi
echo "$tag: $size bytes" >&2
