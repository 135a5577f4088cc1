# Two commands for a newcomer: `make demo` and `make test`. Each makes its own .venv with pinned versions.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := $(VENV)/.ready-for-demo
READY  := $(VENV)/.ready

# Public data files for tests that compare with the real thing; those tests skip where the folder is absent.
export LXMERT_TEST_DATA ?= $(wildcard ../shared/data)

# Processes that run tests side by side, a core each.
TEST_PROCESSES ?= 2

# Options of `make bench`; --quick tries all benchmarks with tiny models.
BENCH_ARGS ?=

.PHONY: help demo test check format lint types coverage bench clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(DEMO): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet -c constraints.txt --editable .
	touch $@

$(READY): $(DEMO)
	$(BIN)/python -m pip install --quiet -c constraints.txt --editable ".[dev]"
	touch $@

demo: $(DEMO)  ## draw a few made-up pictures, ask about them, print and draw the answers
	$(BIN)/lxmert demo

test: $(READY)  ## run every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

check: format lint types test  ## what CI runs: format, lint, types, tests

format: $(READY)  ## fail where the code is not formatted
	$(BIN)/ruff format --check .

lint: $(READY)  ## fail on lint findings
	$(BIN)/ruff check .

types: $(READY)  ## fail on type errors in src
	$(BIN)/mypy

coverage: $(READY)  ## run every test and report the lines never reached
	$(BIN)/python -m pytest --cov --cov-report=term

bench: $(READY)  ## measure speed and memory against other software, half an hour or more; BENCH_ARGS=--quick tries it
	$(BIN)/python -W ignore benchmarks/run_all.py $(BENCH_ARGS)

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
