# What people and CI do with this project. `make test` is what CI runs.

CARGO ?= cargo
export CARGO_PROFILE_DEV_DEBUG := 0

.PHONY: help setup build release test check units judges bench bench-rest fuzz crash-test soak demo install uninstall deb macos-check systemd-test

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 16

setup: ## Install what building and testing needs (Debian; asks sudo where it is needed)
	scripts/setup test

build: ## Build the three programs and the simulated cluster
	$(CARGO) build --workspace --bins

release: ## Build what install and deb take
	$(CARGO) build --release --locked --bins -p kubefwdd -p kubefwd-worker -p kubefwdctl

test: setup check units ## Everything that CI runs

check: ## Format, lints, unused dependencies, documentation, guards
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) machete
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items
	scripts/check-daemon-deps
	scripts/count-code --check
	scripts/module-cycles
	scripts/check-optional

units: build ## All tests
	$(CARGO) nextest run --workspace --no-fail-fast

judges: ## What other programs say, slow to install or to run: browser, schemathesis, promtool, a booted systemd, macOS
	scripts/setup judges
	$(MAKE) build
	$(CARGO) nextest run --workspace --profile judges --no-fail-fast
	$(MAKE) systemd-test macos-check

bench: release ## Compare with kubectl port-forward and direct TCP (ARGS="--only first-byte --rounds 3")
	$(CARGO) build --release --locked --bins -p kubefwd-tests
	$${CARGO_TARGET_DIR:-target}/release/bench $(ARGS)

bench-rest: ## Measure REST with 10,000 services and 1,000 subscribers
	$(MAKE) bench ARGS="--only rest $(ARGS)"

fuzz: ## Fuzz what worker and daemon read (SECONDS_EACH=60 TARGETS="hosts spdy"; needs cargo-fuzz and a nightly toolchain)
	@cd fuzz && for target in $(or $(TARGETS),$(notdir $(wildcard fuzz/corpus/*))); do \
		mkdir -p found/$$target && $(CARGO) +nightly fuzz run $$target found/$$target corpus/$$target -- \
			-max_total_time=$(or $(SECONDS_EACH),60) -timeout=10 -detect_leaks=0 -print_final_stats=1 || exit 1; \
	done

crash-test: build ## Kill the daemon and its worker N times at random moments (N=2000 SEED=1)
	$${CARGO_TARGET_DIR:-target}/debug/soak crash --kills $(or $(N),2000) $(if $(SEED),--seed $(SEED))

soak: release ## Hours of trouble and checked connections; nothing may grow (MINUTES=60 SERVICES=2000 SEED=1)
	$(CARGO) build --release --locked --bin soak -p kubefwd-tests
	$${CARGO_TARGET_DIR:-target}/release/soak run --minutes $(or $(MINUTES),60) --services $(or $(SERVICES),2000) \
		$(if $(SEED),--seed $(SEED)) $(if $(CSV),--csv $(CSV))

demo: ## Run the main job on a simulated cluster, in namespaces of its own
	scripts/setup demo
	$(CARGO) build --bin kubefwdd --bin kubefwd-worker --bin kubefwdctl --bin simcluster
	scripts/demo

install: ## Install the release build, as root (PREFIX, DESTDIR)
	scripts/install install

uninstall: ## Remove what install put there, as root (PREFIX, DESTDIR)
	scripts/install uninstall

deb: release ## Make a Debian package
	scripts/build-deb

systemd-test: release ## Try the Debian package on a real systemd, in a container (root, debootstrap, systemd-container)
	$(CARGO) build --release --locked --bin simcluster
	scripts/systemd-test

macos-check: ## Build for macOS on Linux, where the tools for it are
	scripts/macos-check
