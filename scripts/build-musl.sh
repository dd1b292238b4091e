#!/usr/bin/env bash
# Builds the program as a static musl binary on Debian 12, x86_64, where neither rustup nor an Alpine image can be had: the
# tests of the image need a binary that is built from this very source, without Docker Hub.
#
#   scripts/build-musl.sh [--target TARGET] [CARGO BUILD ARGUMENTS]   prints the path of the binary on stdout
#
# TARGET is x86_64-unknown-linux-musl, unless given, or aarch64-unknown-linux-musl.
#
# A release is not built so, but by the Dockerfile (docs/release.md).
#
# How: Debian's rustc-web and cargo-web are a current Rust, and rust-web-src has the sources of the very same std. std is
# compiled once for musl, into $RUST_MUSL_PREFIX (target/rust-musl unless set), laid out as rustup's own musl target: the
# rlibs, and in lib/self-contained the C library. After that a plain `cargo build --target` works, on a stable toolchain.
# It is compiled again when one of Debian's packages has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=x86_64-unknown-linux-musl
if [ "${1:-}" = --target ]; then
  target=${2:?a target}
  shift 2
fi
prefix=$(realpath -m "${RUST_MUSL_PREFIX:-${CARGO_TARGET_DIR:-target}/rust-musl}")
packages=(binutils cargo-web gcc libstd-rust-web-dev musl-dev musl-tools rust-web-src rustc-web)
case $target in
x86_64-unknown-linux-musl)
  musl=/usr/lib/x86_64-linux-musl musl_gcc=musl-gcc gcc=gcc ar=ar
  ;;
aarch64-unknown-linux-musl)
  # Its C library is taken out of Debian's packages for that machine, which cannot be installed on this one.
  prefix=$prefix-aarch64
  packages+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
  musl=$prefix/musl/usr/lib/aarch64-linux-musl musl_gcc=$prefix/bin/musl-gcc gcc=aarch64-linux-gnu-gcc ar=aarch64-linux-gnu-ar
  ;;
*)
  echo "build-musl: error: $target is not one of x86_64-unknown-linux-musl and aarch64-unknown-linux-musl" >&2
  exit 2
  ;;
esac
variable=${target//-/_}
export "CC_$variable=$musl_gcc" "AR_$variable=$ar" "CARGO_TARGET_${variable^^}_LINKER=$gcc"
# Not rustup's, which may come first in PATH and have another version than the sources.
rustc=/usr/bin/rustc
cargo=/usr/bin/cargo

log() { printf 'build-musl: %s\n' "$*" >&2; }
die() {
  log "error: $*"
  exit 1
}

install_packages() {
  local package missing=()
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "run as root: apt-get install ${missing[*]}"
  log "installing ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# What the toolchain depends on. It is made again when this differs from the stamp in it.
stamp() {
  sha256sum <"${BASH_SOURCE[0]}"
  "$rustc" -vV
  dpkg-query -W -f '${Package} ${Version}\n' "${packages[@]}"
}

# foreign PACKAGE...: takes packages of the target's machine apart, into the current directory. What apt knows of the
# machine itself is left alone.
foreign() {
  local architecture=amd64 state apt package
  [ "$target" = x86_64-unknown-linux-musl ] || architecture=arm64
  state=$(mktemp -d "$PWD/apt.XXXXXX")
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/packages"
  touch "$state/status"
  apt=(apt-get -qq -o APT::Sandbox::User=root -o APT::Architecture="$architecture" -o APT::Architectures="$architecture"
    -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache")
  "${apt[@]}" update >&2
  (cd "$state/packages" && "${apt[@]}" download "$@" >&2)
  for package in "$state"/packages/*.deb; do dpkg-deb -x "$package" .; done
  rm -rf "$state"
}

# The C library for another machine, with a compiler that uses it.
foreign_musl() {
  local specs=$2/musl-gcc.specs
  (cd "$1" && foreign musl musl-dev)
  sed "s|/usr/|$prefix/musl/usr/|g" "$1/usr/lib/aarch64-linux-musl/musl-gcc.specs" >"$specs"
  printf '#!/bin/sh\nexec %s -specs "%s" "$@"\n' "$gcc" "$prefix/bin/musl-gcc.specs" >"$2/musl-gcc"
  chmod 755 "$2/musl-gcc"
}

# compile_std WORK LIB: std and what it depends on, as rlibs in LIB.
compile_std() {
  local work=$1 lib=$2 source commit
  source=$("$rustc" --print sysroot)/lib/rustlib/src/rust/library
  [ -f "$source/Cargo.lock" ] || die "no sources of std in $source"
  cp -rL "$source" "$work/library"
  chmod -R u+w "$work/library"
  commit=$("$rustc" -vV | sed -n 's/^commit-hash: //p')
  # RUSTC_BOOTSTRAP and -Zforce-unstable-if-unmarked are what Rust's own build passes; with embedded bitcode the
  # program's lto reaches into std. The caller's flags must not.
  (cd "$work/library/sysroot" &&
    env -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_TARGET -u RUSTC_WRAPPER -u CARGO_TARGET_DIR \
      RUSTC_BOOTSTRAP=1 RUSTC="$rustc" \
      RUSTFLAGS="-Zforce-unstable-if-unmarked -Cembed-bitcode=yes --remap-path-prefix=$work/library=/rustc/$commit/library" \
      "$cargo" build --release --locked --target "$target" --target-dir "$work/target" \
      --features panic-unwind,backtrace) >&2
  cp "$work/target/$target/release/deps/"*.rlib "$lib/"
  rm -f "$lib"/libsysroot-*.rlib
}

# unwinder WORK: LLVM's unwinder, which rustup's musl target ships too, as WORK/libunwind-all.a. It is taken out of its
# package, since that cannot be installed beside libunwind-dev. The one function it needs of glibc is made here, and
# libgcc joins it for what gcc calls in C dependencies.
unwinder() {
  local work=$1/unwind
  mkdir "$work"
  (
    cd "$work"
    foreign libunwind-14-dev
    cp "$(find usr -type f -name libunwind.a)" libunwind.a
    cat >shim.c <<'C'
#include <stdarg.h>
#include <stdio.h>
__attribute__((visibility("hidden")))
int __fprintf_chk(FILE *file, int flag, const char *format, ...) {
    va_list args; int written; (void)flag;
    va_start(args, format); written = vfprintf(file, format, args); va_end(args);
    return written;
}
C
    "$musl_gcc" -O2 -fPIC -c shim.c
    "$ar" -M <<END
create ../libunwind-all.a
addlib libunwind.a
addlib $("$gcc" -print-file-name=libgcc.a)
addmod shim.o
save
end
END
    "$ar" s ../libunwind-all.a
  )
}

build_toolchain() {
  # A fixed path: cargo hashes it into the names of symbols, and with another path each binary would differ.
  local work=$prefix.build new=$prefix.new lib contained name
  rm -rf "$work" "$new"
  # shellcheck disable=SC2064 # the paths of now
  trap "rm -rf '$work' '$new'" EXIT
  lib=$new/lib/rustlib/$target/lib
  contained=$lib/self-contained
  mkdir -p "$work" "$new/bin" "$contained"
  case $musl in
  "$prefix"/*)
    mkdir "$new/musl"
    foreign_musl "$new/musl" "$new/bin"
    # std's own C code and the unwinder need the compiler now, where it will be.
    rm -rf "$prefix"
    mkdir -p "$prefix"
    echo unfinished >"$prefix/stamp"
    cp -r "$new/musl" "$new/bin" "$prefix/"
    ;;
  esac
  log "building std for $target with $("$rustc" -V), about a minute"
  compile_std "$work" "$lib"
  for name in crt1 rcrt1 Scrt1 crti crtn; do cp "$musl/$name.o" "$contained/"; done
  for name in crtbegin crtend crtbeginS crtendS; do cp "$("$gcc" -print-file-name="$name.o")" "$contained/"; done
  # musl's libm.a and its like are empty, but without them a -lm would find glibc's.
  for name in c m pthread rt dl util resolv xnet; do cp "$musl/lib$name.a" "$contained/"; done
  unwinder "$work"
  cp "$work/libunwind-all.a" "$contained/libunwind.a"
  ln -s "$("$rustc" --print sysroot)/lib/rustlib/x86_64-unknown-linux-gnu" "$new/lib/rustlib/x86_64-unknown-linux-gnu"
  printf '#!/bin/sh\nexec %s --sysroot "%s" "$@"\n' "$rustc" "$prefix" >"$new/bin/rustc"
  chmod 755 "$new/bin/rustc"
  stamp >"$new/stamp"
  rm -rf "$prefix"
  mv "$new" "$prefix"
  rm -rf "$work"
  trap - EXIT
}

install_packages
if [ -e "$prefix" ] && [ ! -f "$prefix/stamp" ]; then die "$prefix is there and not this script's"; fi
mkdir -p "$(dirname "$prefix")"
exec 9>"$prefix.lock"
flock 9
[ "$(stamp)" = "$(cat "$prefix/stamp" 2>/dev/null || true)" ] || build_toolchain
exec 9>&-

RUSTC=$prefix/bin/rustc "$cargo" build --release --locked --target "$target" "$@" >&2
binary=$(realpath "${CARGO_TARGET_DIR:-target}/$target/release/snapshotter")
if readelf -lW "$binary" | grep -q INTERP || readelf -dW "$binary" | grep -q NEEDED; then die "$binary is not static"; fi
printf '%s\n' "$binary"
