# tenantcron: `make help` says what there is.
SHELL = /bin/sh
PREFIX ?= /usr/local
bindir ?= $(PREFIX)/bin
mandir ?= $(PREFIX)/share/man
docdir ?= $(PREFIX)/share/doc/tenantcron
unitdir ?= $(PREFIX)/lib/systemd/system
sysconfdir ?= /etc
CARGO ?= cargo
binary = $(or $(CARGO_TARGET_DIR),target)/release/tenantcron
INSTALL = install

.PHONY: help build demo test chaos simulate check bench bench-peers install deps
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 13

build: ## the release binary
	$(CARGO) build --release --locked

demo: ## twelve tenants for a minute, on a private PostgreSQL; leaves nothing behind
	@tests/support/deps.sh demo
	@tests/demo.sh

test: deps ## the whole suite; its tests mostly wait, so more of them at once than there are CPUs
	CHAOS_SEED=$${CHAOS_SEED:-1} RUST_TEST_THREADS=6 $(CARGO) test --locked

chaos: deps ## MINUTES=n SEED=s: three nodes and a server under random faults, judged (`make test` has two minutes of it)
	CHAOS_MINUTES=$(or $(MINUTES),10) CHAOS_SEED=$(SEED) \
	    $(CARGO) test --locked --test chaos three_nodes_under_faults -- --nocapture

simulate: ## SEEDS=n: nights of the core in a fake world; SEED=n: that one, shrunk where it fails (WHOLE=1: not)
	SEEDS=$(or $(SEEDS),100000) SEED=$(SEED) $(if $(WHOLE),WHOLE=1) \
	    $(CARGO) test --locked --test simulation the_invariants_hold -- --nocapture

check: ## format and lints
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

bench: ## all of benches/: each figure beside a peer's of the same run, in minutes (BENCH=rounds: that one)
	@tests/support/deps.sh bench
	TC_TEST_BASE=$${TMPDIR:-/tmp} $(CARGO) bench --locked --bench '$(or $(BENCH),*)'

# Debian's own Python is built with profiles; one that pyenv compiled is slower, which would not be fair to the queues written in it.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
bench-peers: ## ROWS="celery rq": job queues (Celery, procrastinate, RQ, graphile-worker, pg-boss) and xargs beside tenantcron
	@tests/support/deps.sh bench-peers
	$(MAKE) --no-print-directory build
	PYTHONDONTWRITEBYTECODE=1 $(PYTHON) benches/peers/queues/bench.py

deps: ## what the suite needs beyond cargo: installed by root, else told
	@tests/support/deps.sh all

# `make && sudo make install` need not find cargo as root.
install: ## binary, manual, unit, init script, logrotate, sample; DESTDIR, PREFIX, sysconfdir
	@if command -v $(CARGO) >/dev/null; then $(MAKE) --no-print-directory build; else test -x $(binary); fi
	$(INSTALL) -D -m 755 $(binary) $(DESTDIR)$(bindir)/tenantcron
	for page in man/*.[1-8]; do \
	    $(INSTALL) -D -m 644 "$$page" "$(DESTDIR)$(mandir)/man$${page##*.}/$${page##*/}" || exit 1; done
	$(INSTALL) -D -m 644 -t $(DESTDIR)$(docdir) $(wildcard README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE)
	$(INSTALL) -d -m 755 $(DESTDIR)$(sysconfdir)/tenantcron
	$(INSTALL) -m 644 etc/tenantcron.toml $(DESTDIR)$(sysconfdir)/tenantcron/default.toml.sample
	$(INSTALL) -d -m 755 $(DESTDIR)$(unitdir)
	sed 's|/usr/bin/|$(bindir)/|' etc/systemd/tenantcron@.service >$(DESTDIR)$(unitdir)/tenantcron@.service
	chmod 644 $(DESTDIR)$(unitdir)/tenantcron@.service
	@$(call keep,755,etc/init.d/tenantcron,init.d/tenantcron)
	@$(call keep,644,etc/logrotate.d/tenantcron,logrotate.d/tenantcron)

# Installs a file that an administrator may have changed: one that differs is left alone, ours goes beside it.
define keep
	new=$$(mktemp) && sed 's|/usr/bin/|$(bindir)/|' $(2) >$$new && file=$(DESTDIR)$(sysconfdir)/$(3) && \
	if [ -e $$file ] && ! cmp -s $$new $$file; then \
	    echo "$$file was changed: left as it is, ours is $$file.dpkg-dist"; file=$$file.dpkg-dist; fi && \
	$(INSTALL) -D -m $(1) $$new $$file && rm -f $$new
endef
