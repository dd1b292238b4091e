#!/usr/bin/env bash
# Redis 7.0.15: `redis-cli --rdb -`, which writes a server's data to a pipe, writes 40 bytes too many and ends with 0.
#
# A server that sends its data without knowing their length (`repl-diskless-sync yes`, the default since 7.0) marks their end with 40
# random bytes. `redis-cli --rdb FILE` cuts them off the file; where it writes to standard output it cannot, and leaves them. So what was
# dumped through a pipe is not the file of the same server: `redis-check-rdb` calls both good, since it reads no further than the end.
# From a server that knows the length (`repl-diskless-sync no`) the same command writes no mark.
#
# Packages: Debian 12, redis-tools 5:7.0.15-1~deb12u10 (server, client and check), libjemalloc2 5.3.0-1, liblzf1 3.6-3, libatomic1 12.2.0.
# Seen: 40 bytes behind the checksum with `--rdb -`, none with `--rdb FILE`, none with `repl-diskless-sync no`; exit code 0 each time.
#
# Needs apt-get and python3. Everything lies in a temporary folder. Ends with 0 if all is as said above.
set -euo pipefail

folder=$(mktemp -d)
server=
# shellcheck disable=SC2317,SC2329 # called by the trap
clean() {
  set +e
  [ -z "$server" ] || { kill "$server"; wait "$server"; } 2>/dev/null
  rm -rf --one-file-system -- "${folder:?}"
}
trap clean EXIT
cd "$folder"

apt-get download -qq redis-tools=5:7.0.15-1~deb12u10 libjemalloc2 liblzf1 libatomic1 2>/dev/null
for package in *.deb; do dpkg -x "$package" tree; done
export LD_LIBRARY_PATH=$folder/tree/usr/lib/x86_64-linux-gnu
bin=tree/usr/bin
# The server is the program of redis-check-rdb under another name.
cp $bin/redis-check-rdb redis-server
mkdir data
./redis-server --port 0 --unixsocket "$folder/socket" --dir "$folder/data" --save '' >log 2>&1 &
server=$!
ask() { $bin/redis-cli -s socket "$@"; }
for _ in $(seq 100); do
  [ "$(ask ping 2>/dev/null)" = PONG ] && break
  sleep 0.1
done
ask set greeting hello >/dev/null

# behind FILE: how many bytes lie behind the end of the data and its checksum of 8 bytes. The one key's data end with
# the byte FF, and nothing before that is FF.
behind() {
  python3 -c 'import sys; data = open(sys.argv[1], "rb").read(); print(len(data) - data.index(b"\xff") - 9)' "$1"
}
expect() {
  echo "$1: $2"
  [ "$2" = "$3" ] || { echo "expected: $3" >&2; exit 1; }
}
# dump PATH FILE: what came behind the data, and the exit code.
dump() {
  local code=0
  ask --rdb "$1" >out 2>words || code=$?
  [ "$1" != - ] || mv out "$2"
  echo "$(behind "$2") bytes behind it, exit code $code"
}
expect version "$($bin/redis-cli --version)" 'redis-cli 7.0.15'
expect 'without a length, to a file' "$(dump file file)" '0 bytes behind it, exit code 0'
expect 'without a length, to a pipe' "$(dump - pipe)" '40 bytes behind it, exit code 0'
expect 'redis-check-rdb of that' "$($bin/redis-check-rdb pipe | grep -c 'RDB looks OK')" 1
ask config set repl-diskless-sync no >/dev/null
expect 'with a length, to a pipe' "$(dump - known)" '0 bytes behind it, exit code 0'
