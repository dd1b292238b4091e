#!/usr/bin/env bash
# Shows the whole way of some volumes: into an archive, damaged, and back. Needs a Rust toolchain, and no
# container: the program sees nothing but paths. Every file that is written lies below one temporary directory
# (and in cargo's target directory), which is removed at the end. Any user will do; root sees owners restored
# as well.
set -euo pipefail
export LC_ALL=C
umask 022
unset SNAPSHOTTER_CONFIG SNAPSHOTTER_ARCHIVE

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
demo=$(mktemp -d "${TMPDIR:-/tmp}/snapshotter-demo.XXXXXX")
trap 'rm -rf -- "${demo:?}"' EXIT
trap 'exit 130' INT TERM

if [ -t 1 ]; then bold=$'\e[1m' green=$'\e[32m' plain=$'\e[0m'; else bold='' green='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { printf '$ %s\n' "$1"; }
# Prints a command line, then runs it.
run() { show "$1"; eval "$1"; }
# Prints a command line, runs it, and says that it succeeded; its failure ends the demo.
prove() {
  run "$1" || { printf 'FAILED: %s\n' "$2" >&2; exit 1; }
  printf '%sok%s  %s\n' "$green" "$plain" "$2"
}

say 'Building snapshotter'
show 'cargo build --release --locked'
cd "$repository"
cargo build --release --locked
PATH="$(cd "${CARGO_TARGET_DIR:-target}/release" && pwd):$PATH"

# The volumes: busy_lewin of the README, and in them what a simple copy tends to lose.
cd "$demo"
demo=$(pwd -P)
mkdir -p home/volume1 home/volume3
echo 'volume one' >home/volume1/file.txt
echo 'volume two' >home/volume2.txt
echo 'volume three' >home/volume3/file.txt
cp -r "$repository/src" home/volume1/src
mkdir home/volume3/empty home/volume3/private
{ printf 'SQLite format 3\0'; head -c 262128 /dev/urandom; } >home/volume3/app.db
ln home/volume3/app.db home/volume3/private/app-again.db
ln -s ../volume1/file.txt home/volume3/link
truncate -s 64M home/volume3/sparse.img
printf 'an island in a file of holes' | dd of=home/volume3/sparse.img bs=1M seek=40 conv=notrunc status=none
printf '#!/bin/sh\necho hello\n' >home/volume3/hello.sh
chmod 0750 home/volume3/hello.sh
chmod 2750 home/volume3/private
touch -d '1987-06-05 04:03:02.123456789 UTC' home/volume1/file.txt
touch -d '2001-02-03 04:05:06.000000007 UTC' home/volume3/empty home/volume3
if [ "$(id -u)" = 0 ]; then chown 1234:5678 home/volume3/app.db; fi
setfattr -n user.origin -v 'the demo' home/volume3/app.db 2>/dev/null || true

# What stat says of everything in the volumes, and the extended attributes where getfattr is installed. The
# size of a directory, and how many links it has, are the filesystem's affair.
attributes() {
  find home -mindepth 1 ! -type d -exec stat -c '%n  %A %u:%g  %h links  %s bytes  %y' {} + | sort
  find home -mindepth 1 -type d -exec stat -c '%n  %A %u:%g  %y' {} + | sort
  if command -v getfattr >/dev/null; then
    find home | sort | xargs -d '\n' getfattr -h -d -m '^user\.'
  fi
}
attributes >attributes.before
find home -type f -exec sha256sum {} + | sort -k 2 >checksums
cp -a home original

cat >config.yml <<END
prefix: "volumes/busy_lewin"
volumes:
  - "$demo/home/volume1"
  - "$demo/home/volume2.txt"
  - "$demo/home/volume3"
END

say 'The volumes of a container, and what is to be kept of them'
show "cd $demo"
run 'find home -not -path "*/src/*" | sort'
run 'cat config.yml'

say 'An empty archive, and a snapshot in it'
run 'snapshotter init backup.tar'
run 'snapshotter --config config.yml --archive backup.tar backup --note "before the accident"'

say 'The accident'
run 'rm -r home/volume1/src home/volume3/private home/volume3/empty'
run 'echo "not what it was" > home/volume2.txt'
run 'printf X | dd of=home/volume3/app.db bs=1 seek=100000 conv=notrunc status=none'
run 'chmod 0777 home/volume3/hello.sh'
run 'rm home/volume3/link && echo "no link" > home/volume3/link'
run 'echo "an intruder" > home/volume1/new.txt'
show 'diff -rq --no-dereference original home'
if diff -rq --no-dereference original home; then
  echo 'FAILED: nothing was damaged' >&2
  exit 1
fi

say 'The way back'
run 'snapshotter --config config.yml --archive backup.tar restore'

say 'The proof'
prove 'diff -r --no-dereference original home' 'the same names, the same contents, nothing more and nothing less'
prove 'sha256sum --quiet -c checksums' 'every file has the checksum that it had'
attributes >attributes.after
prove 'diff attributes.before attributes.after' 'the same types, modes, owners, sizes, and times in nanoseconds'
prove 'test home/volume3/app.db -ef home/volume3/private/app-again.db' 'the hard link is one file again'
# shellcheck disable=SC2016 # expanded when it is run
prove 'test "$(du -k home/volume3/sparse.img | cut -f 1)" -lt 1024' 'the sparse file still has its holes'

say 'What is in the archive'
run 'snapshotter --archive backup.tar list'
run 'snapshotter --archive backup.tar verify'

say 'It is a tar like any other'
show 'tar -tvf backup.tar'
tar -tvf backup.tar >listing
sed -n '1,8p' listing
echo "... ($(($(wc -l <listing) - 12)) more)"
tail -n 4 listing

say 'All is back.'
