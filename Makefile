# The two commands of the README; each does all of its own set-up.
.PHONY: demo test quick setup fuzz packages-test union union-walk bench bench-running bench-plan matrix large

# Mounting, composing and the tests of them need root.
AS_ROOT = $(if $(filter 0,$(shell id -u)),,sudo )

setup:
	@scripts/setup.sh

demo: setup
	@$(AS_ROOT)env INTERACTIVE=$(INTERACTIVE) .venv/bin/python qemu-tests/demo.py

test: setup
	@$(AS_ROOT)env CI="$(CI)" .venv/bin/python -m pytest

# Everything but the virtual machines.
quick: setup
	@.venv/bin/python -m pytest tests

# Each parser of the store's bytes, FUZZ_RUNS executions each, guided by coverage; what crashes is
# left in build/fuzz.
FUZZ_RUNS ?= 1200000
fuzz: setup
	@scripts/fuzz.sh $(FUZZ_RUNS)

# Packages for Debian, Arch and RPM, built, installed into clean roots, booted and removed. Half an hour;
# installs the tools that build them.
packages-test:
	@scripts/setup.sh packages
	@$(AS_ROOT)env CI="$(CI)" .venv/bin/python -m pytest packaging/tests

# What the plan says of a union against overlayfs: random layers, UNION_CASES of them; then each path
# of the demo and of 500 real packages (downloads 500 MB once).
UNION_CASES ?= 2500
union: setup
	@$(AS_ROOT)env BOOTUNION_UNION_CASES=$(UNION_CASES) .venv/bin/python -m pytest -q -s tests/test_union.py

union-walk: setup
	@$(AS_ROOT).venv/bin/python bench/union.py

# How long a root of 10 to 499 packages takes to make: the agent, a C program that makes the same calls, a
# shell hook, systemd-sysext, one squashfs, in guest instructions; sealed files on Debian 13's kernel; then
# the clock of two processors, for which nothing else should run (docs/measurements.md). An hour and a half.
# BENCH: words for bench/boot.py. The first time it downloads 500 packages and imports them three times
# (10 GB of disk).
MEASURE = $(AS_ROOT)env $(if $(BOOTUNION_CACHE),BOOTUNION_CACHE=$(BOOTUNION_CACHE)) .venv/bin/python bench/boot.py
bench: setup
	@scripts/setup.sh bench
	@$(MEASURE) --runs 3 --how agent,index,floor,single $(BENCH)
	@$(MEASURE) --runs 1 --how shell $(BENCH)
	@$(MEASURE) --runs 3 --how sysext --sizes 10,50 $(BENCH)
	@$(MEASURE) --runs 1 --how sysext --sizes 150 $(BENCH)
	@$(MEASURE) --runs 3 --how floor,agent,erofs,files,index,index-files --sizes 300 --kernel trixie $(BENCH)
	@$(MEASURE) --runs 3 --how floor,agent,index --sizes 10,300 --clock wall $(BENCH)
	@.venv/bin/python bench/boot_table.py

# What a root of 300 packages costs while it runs, by its index, layer by layer and as one squashfs: through
# dm-verity in guest instructions, then natively without (docs/measurements.md). Half an hour; it needs what
# `bench` downloads and imports.
bench-running: setup
	@$(MEASURE:boot.py=running_boot.py)
	@$(MEASURE:boot.py=running.py) --rounds 6

# Time and memory of `bootunion plan` for 500 and 2,000 packages.
bench-plan: setup
	@.venv/bin/python bench/plan.py

# Roots of 500, 2,000 and 5,000 packages, each by its index: booted to a shell, then tampered with. Downloads
# 500 MB and takes 8 GB of disk once; half an hour. LARGE: words for qemu-tests/large.py.
large: setup
	@$(AS_ROOT)env $(if $(BOOTUNION_CACHE),BOOTUNION_CACHE=$(BOOTUNION_CACHE)) \
	    .venv/bin/python qemu-tests/large.py $(LARGE)

# Every generator, flavour and kernel, and each way to name the store's device, one boot each
# (docs/generators.md). Needs mmdebstrap, and scripts/mkinitcpio.sh to be able to fetch. CELLS: words that
# a cell's name must have, or --again for what went wrong or was not run. On a shared machine
# BOOTUNION_QEMU_LOCK=FILE lets one machine run at a time.
matrix: setup
	@[ -d build/mkinitcpio ] || scripts/mkinitcpio.sh $(CURDIR)/build/mkinitcpio $(MKINITCPIO)
	@$(AS_ROOT)env $(if $(BOOTUNION_CACHE),BOOTUNION_CACHE=$(BOOTUNION_CACHE)) \
	    .venv/bin/python qemu-tests/generator_matrix.py $(CELLS)
