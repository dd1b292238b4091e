#!/usr/bin/env bash
# MariaDB 10.11.19: `mariadb-dump --triggers --routines` leaves out, with exit code 0 and no word, what its user may not see.
#
# A user with the rights that are usually listed for dumps (SELECT, SHOW VIEW, LOCK TABLES) sees neither the triggers of a table (that
# takes TRIGGER) nor the routines that others defined. mariadb-dump asks the server for what there is, gets an empty list, and writes a
# dump without them that ends with the line "-- Dump completed". Events are told otherwise: without the right EVENT the same program
# ends with an error.
#
# Packages: Debian 12, mariadb-server-core, mariadb-client-core and mariadb-client 1:10.11.19-0+deb12u1.
# Seen: by root a trigger, a function and "Dump completed"; by the user none of both, "Dump completed", nothing on stderr, exit code 0;
# with --events exit code 2.
#
# Needs root and apt-get. Everything lies in a temporary folder. Ends with 0 if all is as said above.
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

apt-get download -qq mariadb-server-core=1:10.11.19-0+deb12u1 mariadb-client-core=1:10.11.19-0+deb12u1 mariadb-client=1:10.11.19-0+deb12u1 \
  mariadb-common=1:10.11.19-0+deb12u1 libmariadb3=1:10.11.19-0+deb12u1 libaio1 libnuma1 liburing2 libedit2 libbsd0 \
  libncurses6 2>/dev/null
for package in *.deb; do dpkg -x "$package" tree; done
export LD_LIBRARY_PATH=$folder/tree/usr/lib/x86_64-linux-gnu:$folder/tree/lib/x86_64-linux-gnu
options=(--no-defaults --user=root "--basedir=$folder/tree/usr" "--lc-messages-dir=$folder/tree/usr/share/mysql"
  "--datadir=$folder/data" "--socket=$folder/socket" "--pid-file=$folder/pid" --skip-networking)
mkdir -p data/mysql
share=tree/usr/share/mysql
{
  echo 'USE mysql;'
  cat $share/mysql_system_tables.sql $share/mysql_performance_tables.sql $share/mysql_system_tables_data.sql
} | tree/usr/sbin/mariadbd "${options[@]}" --bootstrap >log 2>&1
tree/usr/sbin/mariadbd "${options[@]}" >>log 2>&1 &
server=$!
client() { tree/usr/bin/mariadb --no-defaults --socket=socket "$@"; }
for _ in $(seq 200); do
  client --user=root --execute 'SELECT 1' >/dev/null 2>&1 && break
  sleep 0.1
done
client --user=root <<'END'
CREATE DATABASE shop;
USE shop;
CREATE TABLE t (id INT PRIMARY KEY, x INT);
CREATE TRIGGER doubled BEFORE INSERT ON t FOR EACH ROW SET NEW.x = 2 * NEW.x;
CREATE FUNCTION total() RETURNS INT READS SQL DATA RETURN (SELECT SUM(x) FROM t);
CREATE USER dumper@localhost;
GRANT SELECT, SHOW VIEW, LOCK TABLES ON shop.* TO dumper@localhost;
END

# dump USER OPTIONS...: triggers, routines, ends, the exit code, and lines of complaint.
dump() {
  local user=$1 code=0
  shift
  tree/usr/bin/mariadb-dump --no-defaults --socket=socket --user="$user" --triggers --routines "$@" shop >out 2>words || code=$?
  echo "$(grep -c 'TRIGGER .*doubled' out) $(grep -c '^CREATE .*FUNCTION .*total' out) $(grep -c '^-- Dump completed' out) $code $(wc -l <words)"
}
expect() {
  echo "$1: $2"
  [ "$2" = "$3" ] || { echo "expected: $3" >&2; cat words >&2; exit 1; }
}
expect version "$(tree/usr/bin/mariadb-dump --version | grep -o '10\.11\.[0-9]*')" 10.11.19
expect 'trigger, function, end, exit code, complaints: root' "$(dump root)" '1 1 1 0 0'
expect 'the same, a user who may read and lock' "$(dump dumper)" '0 0 1 0 0'
expect 'the same, with --events' "$(dump dumper --events | cut -d ' ' -f 4)" 2
