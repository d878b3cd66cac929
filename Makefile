# The two commands of the README; each does all of its own set-up.
.PHONY: demo test quick setup

setup:
	@scripts/setup.sh

demo: setup
	@$(if $(filter 0,$(shell id -u)),,sudo )env INTERACTIVE=$(INTERACTIVE) .venv/bin/python qemu-tests/demo.py

test: setup
	@$(if $(filter 0,$(shell id -u)),,sudo )env CI="$(CI)" .venv/bin/python -m pytest

# Everything but the virtual machines.
quick: setup
	@.venv/bin/python -m pytest tests
