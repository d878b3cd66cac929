# The two commands of the README; each does all of its own set-up.
.PHONY: demo test quick setup fuzz union union-walk bench-plan

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

# What the plan says of a union against overlayfs: random layers, UNION_CASES of them; then each path
# of the demo and of 500 real packages (downloads 500 MB once).
UNION_CASES ?= 2500
union: setup
	@$(if $(filter 0,$(shell id -u)),,sudo )env BOOTUNION_UNION_CASES=$(UNION_CASES) .venv/bin/python -m pytest -q -s tests/test_union.py

union-walk: setup
	@$(if $(filter 0,$(shell id -u)),,sudo ).venv/bin/python bench/union.py

# Time and memory of `bootunion plan` for 500 and 2,000 packages.
bench-plan: setup
	@.venv/bin/python bench/plan.py
