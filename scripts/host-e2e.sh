#!/usr/bin/env bash
# Runs the tests of the host workspace that need a Docker Engine: makes their one image (FROM scratch with
# Debian's busybox-static, so that nothing is pulled), runs them, and removes every container, volume, network
# and image of this run again, however it ends. All of them carry one label or a name that begins with the
# run's own.
#
#   scripts/host-e2e.sh [ARGUMENTS OF THE TEST BINARIES]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

run=$$-$(date +%s)
export SNAPSHOTTER_HOST_E2E=sn-host-$run
export SNAPSHOTTER_HOST_E2E_IMAGE=$SNAPSHOTTER_HOST_E2E/app
label=snapshotter.host-e2e=$SNAPSHOTTER_HOST_E2E
context=$(mktemp -d)

# shellcheck disable=SC2317,SC2329 # called by the trap
clean() {
  set +e
  local filter
  for filter in "label=$label" "name=$SNAPSHOTTER_HOST_E2E-"; do
    docker ps --all --quiet --filter "$filter" | xargs -r docker rm --force --volumes >/dev/null
    docker volume ls --quiet --filter "$filter" | xargs -r docker volume rm --force >/dev/null
    docker network ls --quiet --filter "$filter" | xargs -r docker network rm >/dev/null
  done
  # An image goes only after those that were made from it.
  for _ in 1 2 3 4; do
    docker images --all --quiet --filter "label=$label" | sort -u |
      xargs -r docker rmi --force >/dev/null 2>&1 && break
  done
  rm -rf -- "${context:?}" "$context.log"
}
trap clean EXIT
trap 'exit 130' INT TERM

if ! command -v busybox >/dev/null; then
  echo 'the application of the tests is busybox: install busybox-static' >&2
  exit 1
fi
install -m 755 "$(command -v busybox)" "$context/busybox"
cat >"$context/Dockerfile" <<'END'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
# It ends at once when it is asked to: a shell that is the first process would not hear it.
CMD ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000000 & wait $!; done"]
END
if ! DOCKER_BUILDKIT=0 docker build --network none --force-rm --label "$label" \
  --tag "$SNAPSHOTTER_HOST_E2E_IMAGE" "$context" >"$context.log" 2>&1; then
  cat "$context.log" >&2
  exit 1
fi

cargo test --manifest-path host/Cargo.toml --workspace --locked --test e2e --no-fail-fast -- --ignored "$@"
