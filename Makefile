# What people and CI do with this project. `make test` is what CI runs.

CARGO ?= cargo
TOOLS := target/tools
export CARGO_PROFILE_DEV_DEBUG := 0

.PHONY: help setup build test check units blackbox demo install uninstall macos-check

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 16

setup: ## Install what building and testing needs (Debian; asks sudo where it is needed)
	scripts/setup

build: ## Build the three programs and the simulated cluster
	$(CARGO) build --workspace --bins

test: setup check units ## Everything that CI runs

check: ## Format, lints, documentation, guards
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items
	scripts/check-daemon-deps
	scripts/check-optional

units: build ## All tests
	$(CARGO) nextest run --workspace --no-fail-fast

demo: setup build ## Run the main job on a simulated cluster, in namespaces of its own
	scripts/demo

install: ## Install a release build (PREFIX, DESTDIR)
	$(CARGO) build --release --bins -p kubefwdd -p kubefwd-worker -p kubefwdctl
	scripts/install install

uninstall: ## Remove what install put there
	scripts/install uninstall

macos-check: ## Compile for macOS, where the tools for it are
	scripts/macos-check
