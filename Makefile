# The README's commands. `make` alone lists them.
PYTHON ?= python3.11
VENV := .venv
GANFLOW := $(VENV)/bin/ganflow
PIPELINE ?= cardiac
PROFILE ?= default
DATA ?=

.DEFAULT_GOAL := help
.PHONY: help run test bench lint

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 8
	@echo 'Variables: DATA=folder PROFILE=smoke|default|paper PIPELINE=cardiac|digits|colour'

run: $(VENV)/ready ## run a pipeline on this machine, on DATA or on what it brings itself
	$(GANFLOW) run $(PIPELINE) --profile $(PROFILE) $(if $(DATA),--data $(DATA))

test: $(VENV)/ready lint ## run the tests that CI runs
	$(VENV)/bin/pytest -n auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/ready ## check style
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

bench: export PYTHONPATH := tests/services:tests/end_to_end
bench: $(VENV)/ready ## run the benchmarks
	@for benchmark in tests/benchmarks/*.py; do echo "== $$benchmark"; $(VENV)/bin/python $$benchmark || exit 1; done

# Made anew when the pins or the dependencies change.
$(VENV)/ready: constraints.txt pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@
