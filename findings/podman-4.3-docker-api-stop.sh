#!/usr/bin/env bash
# Podman 4.3.1, its API for Docker clients: two answers that a program written for Docker Engine does not expect.
#
# 1. A container that is made without `StopTimeout` gets a timeout of 0, and not of 10 seconds as Docker would give it. So
#    `POST /containers/ID/stop` kills the process at once, and it has no time to write what it holds. A stop that names a
#    time (`?t=10`) lets the same process end by itself.
# 2. `POST /containers/ID/update`, by which a client of Docker changes a restart policy, is answered with 404, as if
#    the container were not there.
#
# Packages: Debian 12, podman 4.3.1+ds1-8+deb12u1+b3, conmon 2.1.6+ds1-1, runc 1.1.5+ds1-1+deb12u1, busybox-static 1.35.
# Seen: "StopTimeout": 0, exit code 137, no word of the process; with ?t=10 exit code 0 and its word; update: 404.
#
# Needs root, apt-get and curl. Everything lies in a temporary folder. Ends with 0 if all is as said above.
set -euo pipefail

folder=$(mktemp -d)
service=
# shellcheck disable=SC2317,SC2329 # called by the trap
clean() {
  set +e
  [ -z "$service" ] || { kill "$service"; wait "$service"; } 2>/dev/null
  rm -rf --one-file-system -- "${folder:?}"
}
trap clean EXIT
cd "$folder"

apt-get download -qq podman=4.3.1+ds1-8+deb12u1+b3 conmon=2.1.6+ds1-1 runc=1.1.5+ds1-1+deb12u1 \
  busybox-static=1:1.35.0-4+deb12u1+b1 libgpgme11=1.18.0-3+deb12u1 libsubid4=1:4.13+dfsg1-1+deb12u2 \
  libdevmapper1.02.1 libassuan0 2>/dev/null
for package in *.deb; do dpkg -x "$package" tree; done
mkdir -p root run home/.config/containers context
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >home/.config/containers/policy.json
cat >containers.conf <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
conmon_path = ["$folder/tree/usr/bin/conmon"]
END
HOME=$folder/home CONTAINERS_CONF=$folder/containers.conf \
  LD_LIBRARY_PATH=$folder/tree/usr/lib/x86_64-linux-gnu:$folder/tree/lib/x86_64-linux-gnu \
  tree/usr/bin/podman --runtime "$folder/tree/usr/sbin/runc" --root "$folder/root" --runroot "$folder/run" \
  --cgroup-manager cgroupfs --events-backend file --storage-driver vfs \
  system service --time 0 "unix://$folder/socket" >log 2>&1 &
service=$!
call() { curl --silent --show-error --unix-socket socket "$@"; }
for _ in $(seq 50); do
  call http://podman/_ping >/dev/null 2>&1 && break
  sleep 0.2
done

cp tree/bin/busybox context/sh
tar --create --directory context sh |
  call --data-binary @- --header 'Content-Type: application/x-tar' \
    'http://podman/v1.41/images/create?fromSrc=-&repo=localhost/application' >/dev/null

# make NAME: a container whose process takes a second to end when it is asked to.
make() {
  call --header 'Content-Type: application/json' --output created "http://podman/v1.41/containers/create?name=$1" --data '{
    "Image": "localhost/application:latest", "HostConfig": {"NetworkMode": "none"},
    "Cmd": ["/sh", "-c", "trap \"/sh -c \\\"sleep 1\\\"; echo written; exit 0\" TERM; echo runs; while :; do sleep 0.1; done"],
    "Env": ["PATH=/"]}'
}
# stop NAME QUERY: stops it, and prints its exit code and what it said in the end.
stop() {
  call --request POST "http://podman/v1.41/containers/$1/start"
  for _ in $(seq 50); do
    call "http://podman/v1.41/containers/$1/logs?stdout=1" | grep -qa runs && break
    sleep 0.1
  done
  call --request POST "http://podman/v1.41/containers/$1/stop$2"
  call "http://podman/v1.41/containers/$1/json" | grep -o '"ExitCode":[0-9]*'
  call "http://podman/v1.41/containers/$1/logs?stdout=1" | tr -d '\0' | grep -ao written || echo 'nothing written'
  call --request DELETE "http://podman/v1.41/containers/$1" >/dev/null
}
expect() {
  echo "$1: $2"
  [ "$2" = "$3" ] || { echo "expected: $3" >&2; exit 1; }
}

expect version "$(tree/usr/bin/podman --version 2>/dev/null || LD_LIBRARY_PATH=tree/usr/lib/x86_64-linux-gnu tree/usr/bin/podman --version)" \
  'podman version 4.3.1'
make plain
expect 'the timeout of a container made without one' \
  "$(call http://podman/v4.3.0/libpod/containers/plain/json | grep -o '"StopTimeout":[0-9]*')" '"StopTimeout":0'
expect 'an update of its restart policy' \
  "$(call --output /dev/null --write-out '%{http_code}' --header 'Content-Type: application/json' \
    --data '{"RestartPolicy": {"Name": "no"}}' http://podman/v1.41/containers/plain/update)" 404
expect 'a stop without a time' "$(stop plain '' | paste -sd ' ')" '"ExitCode":137 nothing written'
make timed
expect 'a stop with ten seconds' "$(stop timed '?t=10' | paste -sd ' ')" '"ExitCode":0 written'
