# The two commands of the README; each does all of its own set-up.
.PHONY: demo test quick setup fuzz packages-test

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

# Packages for Debian, Arch and RPM, built, installed into clean roots, booted and removed. Half an hour;
# installs the tools that build them.
packages-test:
	@scripts/setup.sh packages
	@$(if $(filter 0,$(shell id -u)),,sudo )env CI="$(CI)" .venv/bin/python -m pytest packaging/tests
