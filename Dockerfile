# The image: one static binary and nothing else. `docker build -t snapshotter .` needs nothing but Docker, on x86_64 and
# aarch64. Nothing here needs BuildKit. How a release is built is said in docs/release.md.

# What every image of ours says of itself and starts.
FROM scratch AS image
ARG VERSION=1.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="snapshotter" \
      org.opencontainers.image.description="Puts the volumes of Docker containers into one plain, appendable tar, and puts them back" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.source="https://github.com/NethermindEth/docker-volumes-snapshotter" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENTRYPOINT ["/snapshotter"]

# `make image`: the same with a binary that was built elsewhere, for where no base image can be pulled. (A builder that
# builds stages it does not need copies some file here, and throws it away.)
FROM image AS prebuilt
ARG BINARY=Cargo.toml
COPY ${BINARY} /snapshotter

# Rust's own image for Alpine has gcc and musl-dev, and links statically.
FROM rust:1.95.0-alpine3.23 AS build
WORKDIR /build
# The dependencies alone, in a layer that lasts until one of them changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' >src/main.rs && \
    cargo build --release --locked
# Files that are copied may be older than what was built from the empty ones.
COPY src src
RUN touch src/lib.rs src/main.rs && \
    cargo build --release --locked && \
    if readelf -lW target/release/snapshotter | grep -q INTERP; then echo 'not static' >&2; exit 1; fi

FROM image
COPY --from=build /build/target/release/snapshotter /snapshotter
