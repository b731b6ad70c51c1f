# SPDX-License-Identifier: GPL-2.0-or-later
#
# auto-converge: an adaptive auto-converge for QEMU, as a patch series
#
# Copyright (c) 2026 the auto-converge authors
#
# Every target does what it needs first; none needs another one before it.
# All that is made lies under build/.

SERIES ?= 7.2
# What is checked and counted: those of Debian's stable releases, or what was
# asked for.
ALL := $(shell cd patches && ls -d */BASE | sed 's,/BASE,,' | sort -V)
STABLE := 7.2 10.0
CHECK_SERIES ?= $(if $(QEMU_SRC)$(filter-out file,$(origin SERIES)),$(SERIES),$(STABLE))
export SERIES CHECK_SERIES TESTS WHOLE TEST_TIMEOUT_S QEMU_SRC FORCE OFFSETS SIGNOFF JOBS
PARTS := lint unit scripts series bisect qtest sanitizers upstream top libvirt soak cross mutate fuzz sanitized deb

S := scripts
BUILD := build
TREE := $(BUILD)/$(SERIES)/tree
STOCK := $(BUILD)/$(SERIES)/bin/stock/qemu-system-x86_64
GUEST := $(BUILD)/guest

.PHONY: help
help:
	@echo 'make demo      migrate a busy guest with stock QEMU and with this one, and compare'
	@echo 'make check     all tests; ends with "N passed, N failed"'
	@echo 'make build     stock and patched QEMU; make where-qemu prints the path'
	@echo 'make series    export the series as mail for git am: build/series-$(SERIES)/'
	@echo "make deb       Debian's package of QEMU with it, for x86; as root"
	@echo
	@echo 'make bench-throttle   what a commanded throttle does to vCPUs; takes gdb'
	@echo 'make bench-lock       how often vCPUs take the big lock for it; OPTIONS=...'
	@echo 'make bench-guest      what it leaves of the work of a Linux guest with redis'
	@echo "make guestperf QEMU's own benchmark of migration on both; OPTIONS=..."
	@echo 'make soak      random migrations with faults; N=$(N) SEED=... MINUTES=...'
	@echo 'make load      a guest of 64 vCPUs to and fro, its monitors busy; OPTIONS=...'
	@echo 'make fuzz      laws of the controller under libFuzzer, each target for SECONDS=$(SECONDS)'
	@echo 'make random-updates   the same laws, UPDATES=$(UPDATES) random updates of the policy'
	@echo 'make mutate    does the test that a constant names fail when it changes?'
	@echo 'make deps      check for what is needed, install it where possible'
	@echo 'make fetch     the source of the release, in build/$(SERIES)/tree'
	@echo 'make apply     the series as commits there; FORCE=1 drops your edits'
	@echo 'make refresh   commits made there become patches and overlay files again'
	@echo 'make hunks     what the series changes in files of the release'
	@echo 'make check-fast     what takes no build of QEMU; make check-slow: the rest'
	@echo 'make check-PART     $(PARTS)'
	@echo 'make tools     simulator and replay, built without QEMU'
	@echo 'make coverage  which lines of policy and throttle the unit tests run'
	@echo 'make where-qemu where-replay clean distclean'
	@echo
	@echo 'SERIES=$(SERIES)     which release ($(ALL)); tests take $(STABLE),'
	@echo '                   or CHECK_SERIES="$(ALL)"'
	@echo "TESTS='/auto-converge/vcpu/*'   only those cases of check-unit, check-qtest"
	@echo 'RUNS=$(RUNS)         of each throttle in bench-guest'
	@echo 'QEMU_SRC=...   its source: a tarball, directory, git tree or .dsc'

.PHONY: deps fetch apply refresh
deps:
	@$S/deps

fetch: deps
	@$S/fetch

apply: fetch
	@$S/series/apply

# The tree is brought to the series only where there is none yet.
refresh: fetch
	@git -C $(TREE) rev-parse -q --verify refs/auto-converge/stock >/dev/null || $S/series/apply
	@$S/series/refresh

.PHONY: build series hunks
build: apply
	@$S/build stock
	@$S/build patched

series: fetch
	@$S/series/export

# Debian's package with the series in it; half an hour, in a root of its own.
.PHONY: deb
deb: export WANT := deb
deb: apply
	@$S/deb

hunks:
	@for name in $(CHECK_SERIES); do \
	    echo "patches/$$name:" && git apply --stat patches/$$name/*.patch || exit 1; done

.PHONY: check $(addprefix check-,fast slow $(PARTS))
check $(addprefix check-,fast slow $(PARTS)):
	@$S/check $(patsubst check-%,%,$(patsubst check,all,$@))

# Simulator and replay, and where they are.
.PHONY: tools coverage
tools coverage: deps
	@$S/check $@

# Not in "make check": they take minutes, and clang.
SECONDS := 60
UPDATES ?= 1000000000

.PHONY: fuzz fuzz-merge random-updates mutate
fuzz fuzz-merge: export WANT := fuzz
fuzz: deps
	@$S/fuzz $(SECONDS)

# What was found becomes the corpus that "make check" runs.
fuzz-merge: deps
	@$S/fuzz merge

random-updates: deps
	@$S/fuzz soak $(UPDATES)

mutate: deps
	@$S/mutate

# Everything the demo needs, quietly; then its own words.
.PHONY: demo guest
demo: build guest
	@PYTHONPATH=bench python3 -m demo --series $(SERIES) --stock $(STOCK) \
	    --patched $$($S/build where) --guest $(GUEST)/workload.elf \
	    --qemu-python $(TREE)/python --out $(BUILD)/demo-$(SERIES)

.PHONY: bench-throttle
bench-throttle: export WANT := gdb
bench-throttle: build guest
	@PYTHONPATH=bench python3 -m throttle --stock $(STOCK) --patched $$($S/build where) \
	    --guest $(GUEST)/workload.elf --qemu-python $(TREE)/python \
	    --out $(BUILD)/throttle-$(SERIES)

.PHONY: bench-lock
bench-lock: apply
	@bench=$$($S/build bench) && $$bench $(OPTIONS)

# Of each throttle so many runs; the whole takes about two hours.
RUNS ?= 5

.PHONY: bench-guest
bench-guest: export WANT := gdb guest
bench-guest: build
	@$S/guest-image
	@PYTHONPATH=bench python3 -m guest --qemu stock=$(STOCK) --qemu patched=$$($S/build where) \
	    --image $(BUILD)/linux-guest --qemu-python $(TREE)/python \
	    --runs $(RUNS) --out $(BUILD)/bench-guest-$(SERIES)

# QEMU's own benchmark of migration, on both.
.PHONY: guestperf
guestperf: export WANT := guest
guestperf: build
	@$S/guest-image
	@initrd=$$($S/build stress) && PYTHONPATH=bench python3 -m perf \
	    --qemu stock=$(STOCK) --qemu patched=$$($S/build where) \
	    --guestperf $$(dirname $(TREE)/tests/migration*/guestperf) --kernel $(BUILD)/linux-guest/vmlinuz \
	    --initrd $$initrd --out $(BUILD)/guestperf-$(SERIES) $(OPTIONS)

# Random migrations with faults; SEED is that of the first one.
N ?= 100
.PHONY: soak
soak: export WANT := gdb
soak: build guest
	@PYTHONPATH=bench:integration python3 -m soak --series $(SERIES) \
	    --qemu $$($S/build where) --guest $(GUEST)/workload.elf \
	    --qemu-python $(TREE)/python --out $(BUILD)/soak-$(SERIES) --count $(N) \
	    $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) \
	    $(if $(JOBS),--jobs $(JOBS))

# A guest of 64 vCPUs and 8 GB to and fro; OPTIONS=... as "--hops 20".
.PHONY: load
load: build guest
	@PYTHONPATH=bench python3 -m load --qemu $$($S/build where) \
	    --guest $(GUEST)/workload.elf --qemu-python $(TREE)/python \
	    --out $(BUILD)/load-$(SERIES) $(OPTIONS)

guest: deps
	@$(MAKE) -s -C tests/guest OUT=$(CURDIR)/$(GUEST)

.PHONY: where-qemu where-replay
where-qemu:
	@$S/build where

where-replay:
	@echo $(CURDIR)/$(BUILD)/standalone/sim/auto-converge-replay

.PHONY: clean distclean
# What was made from the sources goes; downloads and trees with your commits stay.
clean:
	rm -rf $(BUILD)/deb-* $(BUILD)/root-* $(BUILD)/standalone* $(BUILD)/fuzz* $(BUILD)/guest $(BUILD)/log $(BUILD)/series-* \
	    $(BUILD)/demo-* $(BUILD)/throttle-* $(BUILD)/bench-guest-* $(BUILD)/soak-* $(BUILD)/load-* $(BUILD)/guestperf-* \
	    $(addprefix $(BUILD)/linux-guest/,made root initrd.img) $(BUILD)/*/obj $(BUILD)/*/obj-* \
	    $(BUILD)/*/bin $(BUILD)/*/built $(BUILD)/ccache

distclean:
	@for tree in $(BUILD)/*/tree; do \
	    [ ! -d $$tree/.git ] || [ "$(FORCE)" = 1 ] || \
	        SERIES=$$(basename $$(dirname $$tree)) $S/series/apply --saved || exit 1; \
	done
	rm -rf $(BUILD)
