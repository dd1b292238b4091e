#!/usr/bin/env bash
# Runs examples/sidecar as a stranger would, with docker-compose and the Docker Engine, and pulls nothing: the
# images are made of this machine's packages (busybox-static, postgresql-15). Loads the database, backs up,
# destroys, restores, compares; loses the whole project and brings it back from the backups alone; kills the
# sidecar while the application is stopped. Removes all that it has made, however it ends.
#
#   BINARY=host/target/debug/docker-snapshot scripts/sidecar-e2e.sh
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repository"

run=sn-sidecar-$$-$(date +%s)
work=$(mktemp -d)
export BINARY=${BINARY:-$repository/host/target/debug/docker-snapshot}
export BACKUP_IMAGE=$run/backup WEB_IMAGE=$run/web DB_IMAGE=$run/db COMPOSE_PROJECT_NAME=${run//-/}
project=$work/project
pg=/usr/lib/postgresql/15

# What compose 1 says beside what a command prints.
chatter='^(Creating|Starting|Stopping|Removing|Recreating) '

compose() {
  if docker compose version >/dev/null 2>&1; then
    (cd "$project" && docker compose "$@")
  else
    (cd "$project" && docker-compose --ansi never "$@" 2>&1 | grep -vE "$chatter" || test "${PIPESTATUS[0]}" = 0)
  fi
}

# shellcheck disable=SC2317,SC2329 # called by the trap
clean() {
  local status=$?
  set +e
  if [ "$status" != 0 ]; then
    compose logs backup db 2>&1 | tail -n 60 >&2
  fi
  compose down --volumes --timeout 2 >/dev/null 2>&1
  docker images --quiet "$run/*" | xargs -r docker rmi --force >/dev/null 2>&1
  rm -rf --one-file-system -- "${work:?}"
}
trap clean EXIT

fail() {
  echo "sidecar-e2e: $*" >&2
  exit 1
}

# with_libraries ROOT PROGRAM…: copies programs, and the libraries that they need.
with_libraries() {
  local root=$1 program library
  shift
  for program in "$@"; do
    install -D -m 755 "$program" "$root$program"
    for library in $(ldd "$program" 2>/dev/null | grep -oE '/[^ ]+'); do
      [ -e "$root$library" ] || install -D -m 755 "$library" "$root$library"
    done
  done
}

image() { # image TAG ROOT LINES-OF-DOCKERFILE
  { echo 'FROM scratch'; echo 'COPY . /'; echo "$3"; } >"$work/Dockerfile"
  if ! DOCKER_BUILDKIT=0 docker build --quiet --network none --force-rm --tag "$1" \
    --file "$work/Dockerfile" "$2" >/dev/null 2>"$work/log"; then
    cat "$work/log" >&2
    exit 1
  fi
}

echo 'making images'
mkdir -p "$work"/{web,db}/{bin,tmp,etc} "$project"
chmod 1777 "$work"/{web,db}/tmp
for root in web db; do
  install -m 755 "$(command -v busybox)" "$work/$root/bin/busybox"
  for applet in sh date sleep cat mkdir chown chmod rm su; do
    ln -s busybox "$work/$root/bin/$applet"
  done
  echo 'root:x:0:0:root:/:/bin/sh' >"$work/$root/etc/passwd"
done
image "$WEB_IMAGE" "$work/web" 'CMD ["sh"]'
echo 'postgres:x:70:70:postgres:/var/lib/postgresql:/bin/sh' >>"$work/db/etc/passwd"
echo 'postgres:x:70:' >"$work/db/etc/group"
with_libraries "$work/db" "$pg"/bin/{postgres,initdb,psql}
mkdir -p "$work/db$pg/lib" "$work/db/usr/share/postgresql" "$work/db/run/postgresql"
cp "$pg"/lib/*.so "$work/db$pg/lib/"
cp -r /usr/share/postgresql/15 "$work/db/usr/share/postgresql/"
cp -r /usr/share/zoneinfo "$work/db/usr/share/"
cat >"$work/db/entrypoint" <<END
#!/bin/sh
set -e
data=/var/lib/postgresql/data
mkdir -p \$data && chown 70:70 \$data /run/postgresql && chmod 700 \$data
if [ ! -e \$data/PG_VERSION ]; then
  echo "\$POSTGRES_PASSWORD" >/tmp/password && chmod 644 /tmp/password
  options='-U postgres -A scram-sha-256 --no-locale -E UTF8 --no-sync --pwfile /tmp/password'
  su postgres -c "$pg/bin/initdb -D \$data \$options" >/dev/null
  echo 'host all all all scram-sha-256' >>\$data/pg_hba.conf
  echo "CREATE DATABASE \$POSTGRES_DB;" | su postgres -c "$pg/bin/postgres --single -D \$data postgres" >/dev/null
fi
options='-c listen_addresses=* -c fsync=off -c unix_socket_directories=/run/postgresql'
exec su postgres -c "exec $pg/bin/postgres -D \$data \$options"
END
chmod 755 "$work/db/entrypoint"
image "$DB_IMAGE" "$work/db" "$(printf 'ENV PATH=/bin:%s/bin\nCMD ["/entrypoint"]' "$pg")"
scripts/sidecar-image.sh "$BACKUP_IMAGE" 2>&1 | grep ' bytes' || fail 'no image'

cp examples/sidecar/compose.yaml "$project/"
cp examples/sidecar/example.env "$project/.env"

sql() {
  compose exec -T -e PGPASSWORD=change-me db \
    psql -XAtq -U postgres -h 127.0.0.1 -d myapp -v ON_ERROR_STOP=1 -c "$1"
}
backup() { compose exec -T backup "/backup-scripts/$@"; }
container() { # container SERVICE TEMPLATE; compose 1 and 2 name containers differently
  docker inspect --type container --format "$2" "${COMPOSE_PROJECT_NAME}_$1_1" 2>/dev/null ||
    docker inspect --type container --format "$2" "${COMPOSE_PROJECT_NAME}-$1-1"
}
until_true() { # until_true SECONDS COMMAND…
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || fail "not within time: $*"
    sleep 0.3
  done
}
is() { [ "$(container "$1" '{{.State.Status}}')" = "$2" ]; }

echo 'scenario 1: load, back up while others write, destroy, restore, compare'
compose up -d
until_true 60 sql 'SELECT 1'
sql 'CREATE TABLE t(a int PRIMARY KEY, b text NOT NULL)'
sql 'INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 20000) i'
sum='SELECT count(*), md5(string_agg(b, chr(44) ORDER BY a)) FROM t WHERE a <= 20000'
before=$(sql "$sum")
compose exec -T web sh -c 'echo kept >/app/uploads/file; mkdir /app/uploads/deep; echo deep >/app/uploads/deep/file'
sql "DO \$\$ BEGIN FOR a IN 20001..20400 LOOP
  INSERT INTO t VALUES (a, 'later'); COMMIT; PERFORM pg_sleep(0.02);
END LOOP; END \$\$" &
writer=$!
backup backup-now.sh >"$work/out" || fail 'the backup failed'
wait "$writer"
is web running || fail 'the application does not run again'
list=$(backup list-backups.sh)
stamp=$(echo "$list" | awk 'NR == 1 { print $1 }')
ls "$project"/backups/myapp/myapp-"$stamp".tar.gz.gpg >/dev/null || fail "no file of $stamp: $list"
sql "UPDATE t SET b = 'lost'"
sql 'CREATE VIEW newer AS SELECT a FROM t'
compose exec -T web sh -c 'echo damaged >/app/uploads/file; rm -r /app/uploads/deep; echo new >/app/uploads/new'
compose exec -T backup /backup-scripts/restore.sh "$stamp" --yes || fail 'the restore failed'
[ "$(sql "$sum")" = "$before" ] || fail 'rows differ'
[ "$(compose exec -T web cat /app/uploads/file)" = kept ] || fail 'a file is not back'
[ "$(compose exec -T web cat /app/uploads/deep/file)" = deep ] || fail 'a directory is not back'
if compose exec -T web cat /app/uploads/new >/dev/null 2>&1; then fail 'the restore has merged'; fi
is web running || fail 'the application does not run again'
is db running || fail 'the database was stopped'

echo 'all is lost but the backups and the .env file'
compose down --volumes --timeout 2
compose up -d
until_true 60 sql 'SELECT 1'
backup restore.sh latest --yes || fail 'the restore on a new host failed'
[ "$(sql "$sum")" = "$before" ] || fail 'rows differ on a new host'
[ "$(compose exec -T web cat /app/uploads/deep/file)" = deep ] || fail 'files differ on a new host'

echo 'the sidecar is killed while the application is stopped'
sed -i 's/^BACKUP_STOP_WAIT=.*/BACKUP_STOP_WAIT=60/' "$project/.env"
compose up -d
until_true 60 sql 'SELECT 1'
(compose exec -T backup /backup-scripts/backup-now.sh >/dev/null 2>&1 || true) &
until_true 30 is web exited
backup_id=$(container backup '{{.Id}}')
docker kill "$backup_id" >/dev/null
is web exited || fail 'the application was not stopped when the sidecar was killed'
docker start "$backup_id" >/dev/null
until_true 30 is web running
[ -z "$(find "$project/backups" -name '.*' -type f)" ] || fail 'a killed run has left a file in the store'

echo 'a service that is not there is refused, and nothing is stopped'
sed -i 's/^BACKUP_STOP_SERVICES=.*/BACKUP_STOP_SERVICES=wbe/; s/^BACKUP_STOP_WAIT=.*/BACKUP_STOP_WAIT=0/' "$project/.env"
compose up -d
started=$(container web '{{.State.StartedAt}}')
if backup backup-now.sh >"$work/out" 2>&1; then fail 'a service that is not there was taken'; fi
grep -q 'cannot stop wbe: there is no container or service of that name' "$work/out" || fail "$(cat "$work/out")"
[ "$(container web '{{.State.StartedAt}}')" = "$started" ] || fail 'the application was stopped'
echo 'scenario 2: a SQLite database with a log that nobody has taken in, mounted read-only, its application stopped'
mkdir -p "$work/data/uploads" "$work/sqlite"
echo picture >"$work/data/uploads/picture"
python3 - "$work/data/app.db" <<'END'
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute('PRAGMA journal_mode=WAL')
database.execute('CREATE TABLE t(a INTEGER PRIMARY KEY)')
database.executemany('INSERT INTO t VALUES(?)', [(i,) for i in range(5000)])
database.commit()
os._exit(0)
END
[ -s "$work/data/app.db-wal" ] || fail 'there is no log'
# The log alone has the rows; what has to be made beside it to read it is not there.
rm "$work/data/app.db-shm"
count() {
  python3 -c 'import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM t").fetchone()[0])' "$1"
}
sqlite() { # sqlite :ro|"" ARGUMENT…
  local mode=$1
  shift
  docker run --rm --name "$run-sqlite" -v "$work/data:/app/data$mode" -v "$work/sqlite:/backups-local" \
    -v /var/run/docker.sock:/var/run/docker.sock:ro -e BACKUP_NAME=mywebapp-prod \
    -e BACKUP_STOP_SERVICES="$(container web '{{.Name}}' | tr -d /)" -e BACKUP_STOP_WAIT=0 -e BACKUP_START_WAIT=1 \
    -e BACKUP_LOCAL_PATH=/backups-local -e BACKUP_FILES=/app/data/app.db:database \
    -e BACKUP_DIRS=/app/data/uploads:uploads -e BACKUP_ENCRYPTION_KEY=strong-passphrase-here "$BACKUP_IMAGE" "$@"
}
sqlite :ro run >/dev/null || fail 'SQLite was not backed up'
is web running || fail 'the application does not run again'
rm -r "$work/data/uploads" "$work"/data/app.db*
if sqlite :ro restore-backup latest --yes >"$work/out" 2>&1; then fail 'something was restored to a read-only mount'; fi
grep -q 'mounted read-only' "$work/out" || fail "$(cat "$work/out")"
sqlite '' restore-backup latest --yes || fail 'SQLite was not restored'
[ "$(count "$work/data/app.db")" = 5000 ] || fail 'rows of SQLite differ'
[ "$(cat "$work/data/uploads/picture")" = picture ] || fail 'uploads differ'

memory=$(docker stats --no-stream --format '{{.MemUsage}}' "$(container backup '{{.Id}}')" | cut -d/ -f1)
echo "idle memory of the sidecar: $memory"
echo ok
