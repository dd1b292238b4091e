#!/usr/bin/env bash
# A Docker Engine of its own, for tests and benchmarks, with `--userns-remap` unless REMAP is empty. It shares nothing with
# the machine's engine: it has mount and network namespaces, a bridge, a containerd, directories and a socket of its own,
# and sees no configuration of the other's. Needs root.
#
#   [REMAP=] [AGAIN=yes] scripts/remapped-engine.sh DIRECTORY    runs dockerd in the foreground until SIGTERM; with
#                                                                AGAIN another one when it is killed by SIGKILL
#
# The directory must be empty, and its parents searchable for everyone; the engine's socket is docker.sock in it. Root of
# its containers is 200000 on the host, or root where nothing is remapped.
set -euo pipefail

directory=$(realpath "${1:?a directory}")
if [ "${2:-}" != inside ]; then
  [ -z "$(ls -A "$directory")" ] || { echo "$directory is not empty" >&2; exit 1; }
  chmod 711 "$directory"
  # No --fork: the process that is started here is dockerd in the end, and can be stopped by its id.
  exec unshare --mount --net "$0" "$directory" inside "$(readlink /proc/self/ns/net)" "$(readlink /proc/self/ns/mnt)"
fi

# dockerd changes bridges and firewall of the network it runs in, and would do so to the machine's.
if [ "$(readlink /proc/self/ns/net)" = "${3:?}" ] || [ "$(readlink /proc/self/ns/mnt)" = "${4:?}" ]; then
  echo 'these are the namespaces of the machine' >&2
  exit 1
fi

# Docker takes the ranges from these files, which are the machine's. Everyone has a user and a group named daemon.
echo 'daemon:200000:65536' >"$directory/subids"
for file in /etc/subuid /etc/subgid; do mount --bind "$directory/subids" "$file"; done
for hidden in /etc/docker /run/docker /var/lib/docker; do
  if [ -d "$hidden" ]; then mount -t tmpfs -o mode=700 tmpfs "$hidden"; fi
done

ip link set lo up
ip link add name remapped0 type bridge
ip address add 198.18.0.1/24 dev remapped0
cd /
mkdir "$directory/data" "$directory/exec"
echo '{}' >"$directory/daemon.json"
remap=()
[ -z "${REMAP-remapped}" ] || remap=(--userns-remap daemon:daemon)
# The storage driver that works everywhere; the images of the tests are small.
engine=(dockerd ${remap[@]+"${remap[@]}"} --host "unix://$directory/docker.sock" --config-file "$directory/daemon.json"
  --data-root "$directory/data" --exec-root "$directory/exec" --pidfile "$directory/pid"
  --bridge remapped0 --iptables=false --ip6tables=false --storage-driver vfs --log-level warn)
[ -n "${AGAIN-}" ] || exec "${engine[@]}"

# An engine that is killed leaves its containers running, and the next one finds them: it has to be in the same
# namespaces, and containerd must not die with it, as where it is a service of its own.
containerd --root "$directory/containerd" --state "$directory/exec/containerd" --address "$directory/containerd.sock" \
  --log-level warn &
containerd=$!
for _ in $(seq 100); do
  [ ! -S "$directory/containerd.sock" ] || break
  sleep 0.1
done
trap 'kill "$pid"' TERM
status=137
while [ "$status" = 137 ]; do
  "${engine[@]}" --containerd "$directory/containerd.sock" &
  pid=$!
  status=0
  wait "$pid" || status=$?
done
# A signal to this shell has ended the waiting, and not yet the engine.
wait "$pid" || true
kill "$containerd"
