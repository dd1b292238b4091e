#!/usr/bin/env bash
# Runs the tests of the host workspace that need an engine: against the machine's Docker Engine, against one of their own
# that they kill and in which root is another user, and against a Podman that is started for them. Makes their one image
# (FROM scratch with Debian's busybox-static, so that nothing is pulled), runs them, and removes every container, volume,
# network and image of this run again, however it ends. All of them carry one label or a name that begins with the run's
# own. Needs root. Without Podman its part is left out with a line that says so; with CI=true that is an error.
#
#   scripts/host-e2e.sh [ARGUMENTS OF THE TEST BINARIES]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

run=$$-$(date +%s)
export SNAPSHOTTER_HOST_E2E=sn-host-$run
export SNAPSHOTTER_HOST_E2E_IMAGE=$SNAPSHOTTER_HOST_E2E/app
label=snapshotter.host-e2e=$SNAPSHOTTER_HOST_E2E
context=$(mktemp -d)
podman=$(mktemp -d)
podman_pid=
# A second engine, which may be killed.
own=$(mktemp -d)
own_pid=
# Empty means the usual one to the docker CLI.
export DOCKER_HOST=${DOCKER_HOST-}
machine=$DOCKER_HOST

# Removes what this run has made in the engine that DOCKER_HOST names.
# shellcheck disable=SC2317,SC2329 # called by the trap
clean_engine() {
  local filter
  for filter in "label=$label" "name=$SNAPSHOTTER_HOST_E2E-"; do
    docker ps --all --quiet --filter "$filter" | xargs -r docker rm --force --volumes >/dev/null
    docker volume ls --quiet --filter "$filter" | xargs -r docker volume rm --force >/dev/null
    docker network ls --quiet --filter "$filter" | xargs -r docker network rm >/dev/null
  done
  docker ps --all --quiet --filter label=snapshotter.helper --filter "ancestor=$SNAPSHOTTER_HOST_E2E_IMAGE" |
    xargs -r docker rm --force >/dev/null
  # What another run needs meanwhile it loads again.
  docker images --quiet --filter "label=snapshotter.helper.core=${core_digest:-none}" | sort -u |
    xargs -r docker rmi >/dev/null 2>&1
  # An image goes only after those that were made from it.
  for _ in 1 2 3 4; do
    docker images --all --quiet --filter "label=$label" | sort -u |
      xargs -r docker rmi --force >/dev/null 2>&1 && break
  done
}

# shellcheck disable=SC2317,SC2329 # called by the trap
clean() {
  set +e
  DOCKER_HOST=$machine clean_engine
  if [ -n "$podman_pid" ]; then
    DOCKER_HOST=unix://$podman/podman.sock clean_engine
    kill "$podman_pid" 2>/dev/null
    wait "$podman_pid" 2>/dev/null
  fi
  if [ -n "$own_pid" ]; then
    DOCKER_HOST=unix://$own/docker.sock clean_engine
    kill "$own_pid" 2>/dev/null
    wait "$own_pid" 2>/dev/null
  fi
  rm -rf --one-file-system -- "${context:?}" "$context.log" "${podman:?}" "${own:?}" "$own.log"
}
trap clean EXIT
trap 'exit 130' INT TERM

# The image of the tests, in the engine that DOCKER_HOST names.
image() {
  if ! DOCKER_BUILDKIT=0 docker build --network none --force-rm --label "$label" \
    --tag "$SNAPSHOTTER_HOST_E2E_IMAGE" "$context" >"$context.log" 2>&1; then
    cat "$context.log" >&2
    return 1
  fi
}

suite() {
  cargo test --manifest-path host/Cargo.toml --workspace --locked --test e2e --no-fail-fast -- --ignored "$@"
}

# answers SOCKET LOG: waits until an engine answers there, and shows its log if it does not.
answers() {
  for _ in $(seq 100); do
    docker --host "unix://$1" version >/dev/null 2>&1 && return
    sleep 0.2
  done
  cat "$2" >&2
  return 1
}

# A Podman that keeps everything to itself. Its defaults ask for more than a container may have, where this runs in one.
start_podman() {
  printf '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n' >"$podman/containers.conf"
  CONTAINERS_CONF=$podman/containers.conf podman --runtime "$(command -v runc || command -v crun)" --root "$podman/root" \
    --runroot "$podman/run" --cgroup-manager cgroupfs --events-backend file --storage-driver vfs \
    system service --time 0 "unix://$podman/podman.sock" >"$podman/log" 2>&1 &
  podman_pid=$!
  answers "$podman/podman.sock" "$podman/log"
}

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

# What helpers run.
SNAPSHOTTER_HOST_E2E_CORE=${SNAPSHOTTER_HOST_E2E_CORE:-$(scripts/build-musl.sh)}
export SNAPSHOTTER_HOST_E2E_CORE DOCKER_SNAPSHOT_CORE=$SNAPSHOTTER_HOST_E2E_CORE
core_digest=$(sha256sum "$SNAPSHOTTER_HOST_E2E_CORE" | cut -d ' ' -f 1)

# An S3 server: `make test-servers` installs it.
export SNAPSHOTTER_TEST_SERVERS=${SNAPSHOTTER_TEST_SERVERS-$PWD/host/target/test-servers/bin}

# The second engine is there from the beginning: what is lost in one is made again in the other.
AGAIN=yes scripts/remapped-engine.sh "$own" >"$own.log" 2>&1 &
own_pid=$!
image
answers "$own/docker.sock" "$own.log"
export SNAPSHOTTER_HOST_E2E_OWN_ENGINE=$own
DOCKER_HOST=unix://$own/docker.sock image
suite --skip daemon:: "$@"

DOCKER_HOST=unix://$own/docker.sock
suite --test-threads 1 daemon::
DOCKER_HOST=$machine

if command -v podman >/dev/null; then
  start_podman
  DOCKER_HOST=unix://$podman/podman.sock
  image
  # Kills say nothing of the engine, and take minutes here; of the snapshots there is one test of each kind.
  # One after the other: it is slow, and answers with errors of its own when it is busy.
  skips=()
  for left in daemon:: elsewhere:: killed_at killed_after snapshot:: stores:: kinds:: meanwhile::; do skips+=(--skip "$left"); done
  suite "${skips[@]}" --test-threads 1 "$@"
  [ $# -gt 0 ] || suite --test-threads 1 a_project_is_taken_while whoever_starts_something several_outputs_forms
elif [ "${CI-}" = true ]; then
  echo 'error: Podman is not installed' >&2
  exit 1
else
  echo 'skipped: the tests against Podman (it is not installed)'
fi
