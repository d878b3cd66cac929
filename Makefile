# The two commands of the README; each does all of its own set-up.
.PHONY: demo test quick setup fuzz matrix

setup:
	@scripts/setup.sh

demo: setup
	@$(if $(filter 0,$(shell id -u)),,sudo )env INTERACTIVE=$(INTERACTIVE) .venv/bin/python qemu-tests/demo.py

test: setup
	@$(if $(filter 0,$(shell id -u)),,sudo )env CI="$(CI)" .venv/bin/python -m pytest

# Everything but the virtual machines.
quick: setup
	@.venv/bin/python -m pytest tests

# Each parser of the store's bytes, FUZZ_RUNS executions each, guided by coverage; what crashes is
# left in build/fuzz.
FUZZ_RUNS ?= 1200000
fuzz: setup
	@scripts/fuzz.sh $(FUZZ_RUNS)

# Every generator, flavour and kernel, and each way to name the store's device, one boot each
# (docs/generators.md). Needs mmdebstrap, and scripts/mkinitcpio.sh to be able to fetch. CELLS: words that
# a cell's name must have.
matrix: setup
	@[ -d build/mkinitcpio ] || scripts/mkinitcpio.sh $(CURDIR)/build/mkinitcpio $(MKINITCPIO)
	@$(if $(filter 0,$(shell id -u)),,sudo )env $(if $(BOOTUNION_CACHE),BOOTUNION_CACHE=$(BOOTUNION_CACHE)) \
	    .venv/bin/python qemu-tests/generator_matrix.py $(CELLS)
