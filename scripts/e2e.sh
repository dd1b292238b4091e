#!/usr/bin/env bash
# Runs the image against the Docker Engine: makes it, an application and a database server (all FROM scratch, so that
# nothing is pulled), runs tests/e2e, and removes every container, volume, network and image of this run again, however it
# ends. All of them carry one label. Needs root, since the tests look into volumes, and Debian's busybox-static; the test
# of PostgreSQL needs Debian's postgresql-15. Beside the machine's engine a second one runs, with userns-remap, which keeps
# everything to itself (scripts/remapped-engine.sh).
#
#   scripts/e2e.sh [ARGUMENTS OF THE TEST BINARY]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

run=$$-$(date +%s)
export SNAPSHOTTER_E2E_LABEL="snapshotter.e2e=$run"
images=snapshotter-e2e-$$
export SNAPSHOTTER_E2E_IMAGE=$images/snapshotter SNAPSHOTTER_E2E_APP=$images/app
postgres=/usr/lib/postgresql/15
context=$(mktemp -d)
# The root of a remapped engine has to come by its directory.
remapped=$(mktemp -d)
chmod 711 "$remapped"
remapped_pid=
# What tests put on the host goes there, so that it is removed also when they are killed; the same root has to come by.
files=$(mktemp -d)
chmod 711 "$files"

# shellcheck disable=SC2317,SC2329 # called by the trap
clean() {
  set +e
  local filter
  # What compose makes has no label of ours, but a name.
  for filter in "label=$SNAPSHOTTER_E2E_LABEL" "name=sn-e2e-$run-"; do
    docker ps --all --quiet --filter "$filter" | xargs -r docker rm --force --volumes >/dev/null
    docker volume ls --quiet --filter "$filter" | xargs -r docker volume rm --force >/dev/null
    docker network ls --quiet --filter "$filter" | xargs -r docker network rm >/dev/null
  done
  # An image goes only after those that were made from it.
  for _ in 1 2 3 4 5 6 7 8; do
    docker images --all --quiet --filter "label=$SNAPSHOTTER_E2E_LABEL" | sort -u | xargs -r docker rmi --force >/dev/null 2>&1 && break
  done
  stop_remapped
  rm -rf -- "${context:?}" "$context.log" "${remapped:?}" "$remapped.log"
  rm -rf --one-file-system -- "${files:?}"
}

# shellcheck disable=SC2317,SC2329 # called by the trap
stop_remapped() {
  [ -n "$remapped_pid" ] || return 0
  docker --host "unix://$remapped/docker.sock" ps --all --quiet 2>/dev/null |
    xargs -r docker --host "unix://$remapped/docker.sock" rm --force --volumes >/dev/null
  # It ends its containerd, and with the last of them go their namespaces, and what is mounted or made there.
  kill "$remapped_pid" 2>/dev/null
  wait "$remapped_pid" 2>/dev/null
  # Where the engine could not end its containers, their shims outlive it; the path of its socket is theirs alone.
  local shim
  for shim in $(pgrep -f -- "-address $remapped/exec/"); do
    pkill -KILL -P "$shim"
    kill -KILL "$shim"
  done
}
trap clean EXIT
trap 'exit 130' INT TERM

# image NAME ARGUMENTS: from the Dockerfile on stdin and the files in the context.
image() {
  local name=$1
  shift
  cat >"$context/Dockerfile"
  if ! DOCKER_BUILDKIT=0 docker build --network none --force-rm --label "$SNAPSHOTTER_E2E_LABEL" --tag "$name" "$@" "$context" \
    >"$context.log" 2>&1; then
    cat "$context.log" >&2
    return 1
  fi
}

# An application: busybox, and nothing else.
application() {
  if ! command -v busybox >/dev/null; then
    echo 'the application of the tests is busybox: install busybox-static' >&2
    return 1
  fi
  install -m 755 "$(command -v busybox)" "$context/busybox"
  image "$SNAPSHOTTER_E2E_APP" <<'END'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -m 1777 /tmp
CMD ["sleep", "1000000"]
END
}

# PostgreSQL of Debian's packages: the server with its libraries and a user.
database() {
  local root=$context/postgres file
  mkdir -p "$root/etc" "$root/tmp" "$root/usr/share"
  chmod 1777 "$root/tmp"
  printf 'root:x:0:0::/:/bin/sh\npostgres:x:999:999::/:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\npostgres:x:999:\n' >"$root/etc/group"
  cp -r --parents "$postgres/bin" "$postgres/lib" /usr/share/postgresql/15 "$root"
  cp -rL /usr/share/zoneinfo "$root/usr/share/zoneinfo"
  rm -rf "$root$postgres/lib/bitcode"
  # Not all of these are programs or libraries: ldd complains, and goes on.
  { find "$postgres/bin" "$postgres/lib" -type f -exec ldd {} + 2>/dev/null || true; } |
    sed -n 's/^\t.* => \(\/[^ ]*\) (.*/\1/p; s/^\t\(\/[^ ]*\) (.*/\1/p' | sort -u |
    while read -r file; do install -D -m 755 "$file" "$root$file"; done
  image "$SNAPSHOTTER_E2E_POSTGRES" --build-arg APP="$SNAPSHOTTER_E2E_APP" <<'END'
ARG APP
FROM ${APP}
COPY postgres /
ENV PATH=/usr/lib/postgresql/15/bin:/bin LC_ALL=C
USER postgres
END
}

# A second engine, with userns-remap and the images of the tests. Where there can be none, the tests that need it say so.
remapped_engine() {
  local host=unix://$remapped/docker.sock
  # With this script it ends, however that is killed.
  setpriv --pdeathsig TERM scripts/remapped-engine.sh "$remapped" >"$remapped.log" 2>&1 &
  remapped_pid=$!
  for _ in $(seq 1500); do
    if docker --host "$host" version >/dev/null 2>&1; then
      docker save "$SNAPSHOTTER_E2E_IMAGE" "$SNAPSHOTTER_E2E_APP" | docker --host "$host" load --quiet >/dev/null
      export SNAPSHOTTER_E2E_REMAPPED=$host
      return
    fi
    kill -0 "$remapped_pid" 2>/dev/null || break
    sleep 0.2
  done
  echo 'no engine with userns-remap could be started:' >&2
  tail -n 5 "$remapped.log" >&2
}

scripts/image.sh "$SNAPSHOTTER_E2E_IMAGE" --label "$SNAPSHOTTER_E2E_LABEL"
application
if [ -x "$postgres/bin/postgres" ]; then
  export SNAPSHOTTER_E2E_POSTGRES=$images/postgres
  database
fi
remapped_engine
TMPDIR=$files cargo test --locked --test e2e -- --ignored "$@"
