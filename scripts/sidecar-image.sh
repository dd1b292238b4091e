#!/usr/bin/env bash
# Builds the sidecar's image and pulls nothing: FROM scratch, the program, and the client programs that CLIENTS
# names, each with the libraries that it needs, as Debian's packages have put them onto this machine.
#
#   scripts/sidecar-image.sh TAG [DOCKER BUILD ARGUMENTS]
#
# BINARY   the program; host/target/release/docker-snapshot unless set (`make build-host`)
# CLIENTS  programs, separated by spaces; PostgreSQL's unless set. An empty one makes an image without any.
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

tag=${1:?the name of the image}
shift
binary=${BINARY:-$repository/host/target/release/docker-snapshot}
if [ -z "${CLIENTS+set}" ]; then
  newest=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 2>/dev/null | sort -V | tail -n 1)
  CLIENTS="$newest/bin/pg_dump $newest/bin/pg_restore $newest/bin/pg_dumpall $newest/bin/psql"
fi
context=$(mktemp -d)
trap 'rm -rf -- "${context:?}"' EXIT
root=$context/root
mkdir -p "$root"/{backup-scripts,etc/ssl/certs,run,tmp,usr/bin,var/lib/docker-snapshot}
chmod 1777 "$root/tmp"
chmod 700 "$root/var/lib/docker-snapshot"

# The libraries of a program, where it looks for them.
libraries() {
  local library
  for library in $(ldd "$1" 2>/dev/null | grep -oE '/[^ ]+'); do
    [ -e "$root$library" ] || install -D -m 755 "$library" "$root$library"
  done
}

strip -o "$root/docker-snapshot" "$binary"
chmod 755 "$root/docker-snapshot"
libraries "$binary"
for client in $CLIENTS; do
  install -m 755 "$(readlink -f "$(command -v "$client")")" "$root/usr/bin/$(basename "$client")"
  libraries "$(command -v "$client")"
done
for name in backup-now list-backups restore; do
  ln -s /docker-snapshot "$root/backup-scripts/$name.sh"
done
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'root:x:0:0:root:/:/none' >"$root/etc/passwd"
cat >"$context/Dockerfile" <<'END'
FROM scratch
COPY root /
ENV PATH=/usr/bin:/backup-scripts SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
LABEL org.opencontainers.image.title="docker-snapshot" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.source="https://github.com/NethermindEth/docker-volumes-snapshotter"
HEALTHCHECK --interval=5m --timeout=30s CMD ["/docker-snapshot", "health"]
ENTRYPOINT ["/docker-snapshot"]
CMD ["serve"]
END
# DOCKER_BUILDKIT=0: it needs no BuildKit, and not every client has it.
DOCKER_BUILDKIT=0 docker build --quiet --network none --force-rm --tag "$tag" "$@" "$context" >&2
echo "$tag: $(docker image inspect --format '{{.Size}}' "$tag") bytes" >&2
